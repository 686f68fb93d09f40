//! What must every embedder do? Run [`embedder`] in the tests of each implementation of
//! [`TextEmbedder`].

use crate::embed::TextEmbedder;

/// Returns what does not hold, in words; empty when the embedder conforms.
///
/// Checked: one vector for each text in order; its dimension; finite values; the same text gives the
/// same vector alone, in a batch, and again; the empty text, a very long one and odd characters are
/// taken; two texts that differ do not all give one vector.
pub fn embedder(embedder: &dyn TextEmbedder) -> Vec<String> {
    let long = "a very long text ".repeat(2_000);
    let texts =
        ["how to build", "", "日本語 🦀 \u{0} \n", &long, "rollback a release", "how to build"];
    let mut wrong = Vec::new();
    let together = match embedder.embed(&texts) {
        Ok(vectors) => vectors,
        Err(error) => return vec![format!("a batch is refused: {error}")],
    };
    if together.len() != texts.len() {
        return vec![format!("{} vectors for {} texts", together.len(), texts.len())];
    }
    for (index, (text, vector)) in texts.iter().zip(&together).enumerate() {
        if vector.len() != embedder.dim() {
            wrong.push(format!("text {index}: {} dimensions", vector.len()));
        }
        if !vector.iter().all(|value| value.is_finite()) {
            wrong.push(format!("text {index}: a value is not finite"));
        }
        match embedder.embed(&[text]) {
            Ok(alone) if alone.first().is_some_and(|alone| is_close(alone, vector)) => {}
            Ok(_) => wrong.push(format!("text {index}: alone it has another vector")),
            Err(error) => wrong.push(format!("text {index} is refused: {error}")),
        }
    }
    if together.first() != together.last() {
        wrong.push("the same text has two vectors in one batch".into());
    }
    if together.first() == together.get(4) {
        wrong.push("two different texts have one vector".into());
    }
    match embedder.embed(&[]) {
        Ok(vectors) if vectors.is_empty() => {}
        Ok(_) => wrong.push("no texts give vectors".into()),
        Err(error) => wrong.push(format!("an empty batch is refused: {error}")),
    }
    wrong
}

/// Equal up to the rounding that another batch size may bring.
fn is_close(a: &[f32], b: &[f32]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(x, y)| (x - y).abs() <= 1e-4 * (1.0 + x.abs()))
}

#[cfg(test)]
mod tests {
    use crate::memory::HashEmbedder;

    #[test]
    fn the_embedder_in_memory_conforms() {
        let wrong = super::embedder(&HashEmbedder::new("conformance", 64));
        assert!(wrong.is_empty(), "{wrong:?}");
    }
}
