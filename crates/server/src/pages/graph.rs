//! How is the graph of assets drawn? In layers from left to right, as SVG, on the server.
//!
//! An asset's layer is the longest way to it from a source; inside a layer assets are ordered by
//! where their neighbours are, swept a few times back and forth, so that few lines cross.

use std::collections::HashMap;

use maud::{Markup, PreEscaped, html};

use super::{
    icons,
    ui::{clip, path, tone},
    views::Asset,
};

const NODE_WIDTH: usize = 136;
const NODE_HEIGHT: usize = 50;
const GAP_X: usize = 26;
const GAP_Y: usize = 16;
const MARGIN: usize = 6;
const SWEEPS: usize = 6;

/// One edge: the places of its two assets, and the bends between them, one in each layer it
/// crosses, so that no line runs through a node.
struct Edge {
    from: usize,
    to: usize,
    bends: Vec<usize>,
}

/// Where everything is drawn: first the assets, in their order, then the bends of long edges.
struct Layout {
    places: Vec<(usize, usize)>,
    edges: Vec<Edge>,
    width: usize,
    height: usize,
}

/// The graph as a picture with links.
pub(crate) fn draw(assets: &[Asset]) -> Markup {
    let layout = layout(assets);
    let view = format!("0 0 {} {}", layout.width, layout.height);
    html! {
        div.graph tabindex="0" role="group" aria-label="Graph of assets" {
            svg viewBox=(view) width=(layout.width) height=(layout.height) {
                g.edges {
                    @for edge in &layout.edges {
                        path d=(curve(edge, &layout.places))
                            data-from=(assets[edge.from].asset) data-to=(assets[edge.to].asset) {}
                    }
                }
                @for (asset, place) in assets.iter().zip(&layout.places) { (node(asset, *place)) }
            }
        }
    }
}

fn node(asset: &Asset, (x, y): (usize, usize)) -> Markup {
    let (folder, stem) = asset.asset.split_once('/').unwrap_or(("", asset.asset.as_str()));
    let state = if asset.state.is_empty() { "unknown" } else { asset.state.as_str() };
    html! {
        a class={ "node " (tone(&asset.state)) } href={ "/assets/" (path(&asset.asset)) }
            data-asset=(asset.asset) transform={ "translate(" (x) " " (y) ")" }
            aria-label={ (asset.asset) ", " (state) } {
            title { (asset.asset) " is " (state) }
            rect width=(NODE_WIDTH) height=(NODE_HEIGHT) rx="9" {}
            g.node-icon transform="translate(9 10)" fill="none" stroke-width="1.6"
                stroke-linecap="round" stroke-linejoin="round" {
                (PreEscaped(icons::state_paths(&asset.state)))
            }
            text.node-name x="31" y="22" { (clip(stem, 14)) }
            text.node-kind x="31" y="39" { (clip(folder, 9)) " · " (state) }
        }
    }
}

/// A smooth line from the right of one node to the left of another, level where it passes others.
fn curve(edge: &Edge, places: &[(usize, usize)]) -> String {
    let middle = |place: usize| places[place].1 + NODE_HEIGHT / 2;
    let (mut x, mut y) = (places[edge.from].0 + NODE_WIDTH, middle(edge.from));
    let mut line = format!("M{x} {y}");
    for stop in edge.bends.iter().chain(std::iter::once(&edge.to)) {
        let (to_x, to_y) = (places[*stop].0, middle(*stop));
        let bend = x.midpoint(to_x);
        line.push_str(&format!("C{bend} {y} {bend} {to_y} {to_x} {to_y}"));
        (x, y) = (to_x, to_y);
        if *stop != edge.to {
            x += NODE_WIDTH;
            line.push_str(&format!("H{x}"));
        }
    }
    line
}

fn layout(assets: &[Asset]) -> Layout {
    let names = assets.iter().enumerate().map(|(place, asset)| (asset.asset.as_str(), place));
    let index: HashMap<&str, usize> = names.collect();
    let inputs: Vec<Vec<usize>> = assets
        .iter()
        .map(|asset| {
            asset.inputs.iter().filter_map(|input| index.get(input.as_str()).copied()).collect()
        })
        .collect();
    let mut depths = depths(&inputs);
    let edges = route(&inputs, &mut depths);
    let mut layers = vec![Vec::new(); depths.iter().max().map_or(0, |deepest| deepest + 1)];
    for (place, depth) in depths.iter().enumerate() {
        layers[*depth].push(place);
    }
    order(&mut layers, &edges, depths.len());
    let tallest = layers.iter().map(Vec::len).max().unwrap_or(0);
    let height = tallest * (NODE_HEIGHT + GAP_Y);
    let mut places = vec![(0, 0); depths.len()];
    for (column, layer) in layers.iter().enumerate() {
        let top = (height - layer.len() * (NODE_HEIGHT + GAP_Y)) / 2;
        for (row, place) in layer.iter().enumerate() {
            let x = MARGIN + column * (NODE_WIDTH + GAP_X);
            places[*place] = (x, MARGIN + top + row * (NODE_HEIGHT + GAP_Y));
        }
    }
    let width = (layers.len() * (NODE_WIDTH + GAP_X)).saturating_sub(GAP_X) + 2 * MARGIN;
    Layout { places, edges, width, height: height.saturating_sub(GAP_Y) + 2 * MARGIN }
}

/// The longest way to each asset from a source. Bounded by the number of assets, so that even a
/// cycle (which the project refuses) ends.
fn depths(inputs: &[Vec<usize>]) -> Vec<usize> {
    let mut depths = vec![0; inputs.len()];
    for _ in 0..inputs.len() {
        let mut moved = false;
        for (place, inputs) in inputs.iter().enumerate() {
            let depth = inputs.iter().map(|input| depths[*input] + 1).max().unwrap_or(0);
            if depth > depths[place] && depth < depths.len() {
                depths[place] = depth;
                moved = true;
            }
        }
        if !moved {
            break;
        }
    }
    depths
}

/// Every edge, with a bend of its own (appended to `depths`) in each layer that it crosses.
fn route(inputs: &[Vec<usize>], depths: &mut Vec<usize>) -> Vec<Edge> {
    let mut edges = Vec::new();
    for (to, inputs) in inputs.iter().enumerate() {
        for from in inputs {
            let crossed = depths[*from] + 1..depths[to];
            let bends = crossed.map(|depth| {
                depths.push(depth);
                depths.len() - 1
            });
            let bends = bends.collect();
            edges.push(Edge { from: *from, to, bends });
        }
    }
    edges
}

fn order(layers: &mut [Vec<usize>], edges: &[Edge], total: usize) {
    let mut neighbours = vec![Vec::new(); total];
    for edge in edges {
        let mut last = edge.from;
        for stop in edge.bends.iter().chain(std::iter::once(&edge.to)) {
            neighbours[last].push(*stop);
            neighbours[*stop].push(last);
            last = *stop;
        }
    }
    let mut rank = vec![0.0_f64; total];
    let settle = |layer: &mut Vec<usize>, rank: &mut Vec<f64>| {
        let wish = |place: &usize| {
            let near = &neighbours[*place];
            let sum: f64 = near.iter().map(|other| rank[*other]).sum();
            if near.is_empty() { rank[*place] } else { sum / count(near.len()) }
        };
        let mut wishes: Vec<_> = layer.iter().map(|place| (wish(place), *place)).collect();
        wishes.sort_by(|a, b| a.0.total_cmp(&b.0));
        *layer = wishes.into_iter().map(|(_, place)| place).collect();
        let middle = count(layer.len()) / 2.0;
        for (row, place) in layer.iter().enumerate() {
            rank[*place] = count(row) - middle;
        }
    };
    for sweep in 0..SWEEPS {
        if sweep % 2 == 0 {
            layers.iter_mut().for_each(|layer| settle(layer, &mut rank));
        } else {
            layers.iter_mut().rev().for_each(|layer| settle(layer, &mut rank));
        }
    }
}

const fn count(number: usize) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asset(name: &str, inputs: &[&str]) -> Asset {
        Asset {
            asset: name.to_owned(),
            inputs: inputs.iter().map(|input| (*input).to_owned()).collect(),
            ..Asset::default()
        }
    }

    #[test]
    fn every_edge_points_to_the_right_and_no_two_nodes_overlap() {
        let assets = [
            asset("s/a", &[]),
            asset("m/b", &["s/a"]),
            asset("m/c", &["s/a", "m/b"]),
            asset("m/d", &["s/a", "gone/x"]),
            asset("r/e", &["m/c", "m/d"]),
        ];
        let layout = layout(&assets);
        assert_eq!(layout.edges.len(), 6, "an input that is not an asset is not drawn");
        for edge in &layout.edges {
            assert!(layout.places[edge.from].0 < layout.places[edge.to].0);
        }
        let mut places = layout.places.clone();
        places.sort_unstable();
        places.dedup();
        assert_eq!(places.len(), layout.places.len());
        assert_eq!(places.len(), assets.len() + 2, "two edges cross a layer");
    }

    #[test]
    fn a_cycle_and_nothing_at_all_are_drawn_too() {
        draw(&[asset("a/a", &["b/b"]), asset("b/b", &["a/a"])]);
        draw(&[]);
    }
}
