#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::Arc;

use candle_core::{Device, Result, Tensor, Var};

use super::{
    Activation, attention, embed, info_nce, kernels, layer_norm, linear, mean_pool_normalize, spans,
};

/// Numbers that look random and are the same on every machine.
fn values(count: usize, salt: u32) -> Vec<f32> {
    let mut state = salt.wrapping_mul(2_654_435_761).wrapping_add(12_345);
    (0..count)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / 8_388_608.0 - 1.0
        })
        .collect()
}

fn var(shape: &[usize], salt: u32) -> Var {
    let tensor =
        Tensor::from_vec(values(shape.iter().product(), salt), shape, &Device::Cpu).unwrap();
    Var::from_tensor(&tensor).unwrap()
}

/// Compares every gradient with a central difference of a fixed random projection of the result.
fn check(vars: &[Var], f: impl Fn(&[Var]) -> Result<Tensor>) {
    let project = |y: &Tensor| -> f64 {
        let flat = y.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        flat.iter().zip(values(flat.len(), 99)).map(|(a, b)| f64::from(*a) * f64::from(b)).sum()
    };
    let y = f(vars).unwrap();
    let weights = Tensor::from_vec(values(y.elem_count(), 99), y.shape(), &Device::Cpu).unwrap();
    let grads = (y * weights).unwrap().sum_all().unwrap().backward().unwrap();
    for (which, var) in vars.iter().enumerate() {
        let gradient =
            grads.get(var).expect("a gradient").flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let start = var.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        for at in 0..start.len() {
            let step = 5e-3_f32;
            let moved = |by: f32| {
                let mut data = start.clone();
                data[at] += by;
                var.set(&Tensor::from_vec(data, var.shape(), &Device::Cpu).unwrap()).unwrap();
                project(&f(vars).unwrap())
            };
            let numeric = (moved(step) - moved(-step)) / (2.0 * f64::from(step));
            let analytic = f64::from(gradient[at]);
            let error = (numeric - analytic).abs() / (1.0 + numeric.abs());
            assert!(error < 4e-3, "input {which} at {at}: {analytic} against {numeric}");
        }
        var.set(&Tensor::from_vec(start, var.shape(), &Device::Cpu).unwrap()).unwrap();
    }
}

#[test]
fn linear_gradients() {
    for activation in [Activation::None, Activation::Gelu] {
        check(&[var(&[5, 7], 1), var(&[9, 7], 2), var(&[9], 3)], |v| {
            linear(&v[0], &v[1], &v[2], activation)
        });
    }
}

#[test]
fn layer_norm_gradients() {
    check(&[var(&[4, 19], 1), var(&[19], 2), var(&[19], 3)], |v| {
        layer_norm(&v[0], &v[1], &v[2], 1e-5)
    });
}

#[test]
fn attention_gradients_with_texts_of_odd_lengths() {
    let spans = spans([3, 1, 18].into_iter());
    check(&[var(&[22, 30], 4)], |v| attention(&v[0], &spans, 2));
}

#[test]
fn embed_gradients_add_up_over_repeated_tokens() {
    check(&[var(&[4, 5], 1), var(&[3, 5], 2)], |v| {
        embed(&v[0], &v[1], Arc::from([1, 1, 3]), Arc::from([0, 1, 2]))
    });
}

#[test]
fn pooling_gradients() {
    let spans = spans([2, 1, 3].into_iter());
    check(&[var(&[6, 18], 5)], |v| mean_pool_normalize(&v[0], &spans));
}

#[test]
fn contrastive_gradients_with_a_repeated_passage() {
    check(&[var(&[8, 6], 6)], |v| info_nce(&v[0], Arc::from([0, 1, 0, 2]), 0.5));
}

#[test]
fn attention_equals_its_definition() {
    let (tokens, hidden, heads) = (21, 24, 2);
    let qkv = var(&[tokens, 3 * hidden], 7);
    let fused = attention(&qkv, &spans([tokens].into_iter()), heads).unwrap();
    let part = |i: usize, head: usize| {
        let width = hidden / heads;
        qkv.narrow(1, i * hidden + head * width, width).unwrap().contiguous().unwrap()
    };
    for head in 0..heads {
        let scores = part(0, head).matmul(&part(1, head).t().unwrap()).unwrap();
        let scores = (scores / (12.0_f64).sqrt()).unwrap().exp().unwrap();
        let weights = scores.broadcast_div(&scores.sum_keepdim(1).unwrap()).unwrap();
        let plain = weights.matmul(&part(2, head)).unwrap();
        let difference = (fused.narrow(1, head * 12, 12).unwrap() - plain).unwrap().abs().unwrap();
        let worst = difference.max_all().unwrap().to_scalar::<f32>().unwrap();
        assert!(worst < 1e-5, "head {head}: {worst}");
    }
}

#[test]
fn a_pair_alone_has_no_loss_and_a_repeated_passage_is_no_negative() {
    let x = var(&[2, 8], 8);
    assert!(info_nce(&x, Arc::from([0]), 0.1).unwrap().to_scalar::<f32>().unwrap().abs() < 1e-6);
    let x = var(&[4, 8], 9);
    assert!(info_nce(&x, Arc::from([3, 3]), 0.1).unwrap().to_scalar::<f32>().unwrap().abs() < 1e-6);
    assert!(info_nce(&x, Arc::from([3, 4]), 0.1).unwrap().to_scalar::<f32>().unwrap() > 1e-3);
}

#[test]
fn exp_is_close_everywhere() {
    for i in -8_000..8_000 {
        let x = i as f32 * 0.01;
        let expected = f64::from(x).exp();
        let error = (f64::from(kernels::exp(x)) - expected).abs() / expected;
        assert!(error < 3e-7, "exp({x}) is off by {error}");
    }
}

#[test]
fn shapes_that_do_not_fit_are_refused() {
    let spans = spans([2].into_iter());
    assert!(attention(&var(&[3, 12], 1), &spans, 2).is_err());
    assert!(attention(&var(&[2, 13], 1), &spans, 2).is_err());
    assert!(embed(&var(&[4, 5], 1), &var(&[3, 5], 2), Arc::from([4]), Arc::from([0])).is_err());
    assert!(info_nce(&var(&[3, 4], 1), Arc::from([0, 1]), 0.1).is_err());
    assert!(linear(&var(&[2, 3], 1), &var(&[4, 2], 2), &var(&[4], 3), Activation::None).is_err());
}
