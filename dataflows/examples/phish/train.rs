//! Logistic regression by stochastic gradient descent with AdaGrad steps. One thread, one seed: the same rows give
//! the same weights.

use std::collections::HashMap;

use ct_dataflows::modules::phish::features::{self, Parts, SHAPE_SLOTS, SHAPES, SLOT_BITS};
use ct_dataflows::modules::phish::keywords::Keywords;
use ct_dataflows::modules::phish::popular::Popular;
use ct_dataflows::modules::phish::weights::{STEPS, Weights};

use crate::data::{LISTS, Row};

const EPOCHS: usize = 8;
const STEP: f32 = 0.1;
const L2: f32 = 1e-3;
const L2_SHAPES: f32 = 1e-4;
/// Phishing names weigh half as much as the others.
const OTHERS_PER_PHISHING: f64 = 2.0;
const SEED: u64 = 7;

/// What the model sees of a name.
pub(crate) struct Seen {
    runs: Vec<u32>,
    shapes: Vec<u16>,
}

impl Seen {
    pub(crate) fn of(name: &str, keywords: &Keywords) -> Self {
        let parts = Parts::of(name);
        let mut seen = Self { runs: Vec::new(), shapes: Vec::new() };
        features::visit_runs(&parts, |slot, _| seen.runs.push(slot as u32));
        features::visit_shapes(&parts, &keywords.hits(&parts), |index, _| seen.shapes.push(index as u16));
        seen
    }
}

/// Weights before they are cut to steps.
struct Model {
    bias: f32,
    runs: Vec<f32>,
    shapes: Vec<f32>,
}

impl Model {
    fn log_odds(&self, seen: &Seen) -> f32 {
        let runs: f32 = seen.runs.iter().map(|slot| self.runs[*slot as usize]).sum();
        let shapes: f32 = seen.shapes.iter().map(|index| self.shapes[usize::from(*index)]).sum();
        self.bias + runs * share(seen) + shapes
    }
}

fn share(seen: &Seen) -> f32 {
    1.0 / (seen.runs.len() as f32).sqrt()
}

pub(crate) fn train(rows: &[(&Row, &Seen)]) -> Weights {
    let weights = row_weights(rows);
    let mut model = Model { bias: 0.0, runs: vec![0.0; 1 << SLOT_BITS], shapes: vec![0.0; SHAPE_SLOTS] };
    // Sums of squared gradients.
    let (mut bias_sum, mut run_sums, mut shape_sums) = (1e-6, vec![1e-6; 1 << SLOT_BITS], vec![1e-6; SHAPE_SLOTS]);
    let step = |sum: &mut f32, gradient: f32| {
        *sum += gradient * gradient;
        STEP * gradient / sum.sqrt()
    };
    let mut random = SEED;
    let mut order: Vec<usize> = (0..rows.len()).collect();
    for _ in 0..EPOCHS {
        shuffle(&mut order, &mut random);
        for &at in &order {
            let ((row, seen), weight) = (rows[at], weights[at]);
            let predicted = 1.0 / (1.0 + (-model.log_odds(seen)).exp());
            let error = (predicted - f32::from(u8::from(row.phishing))) * weight;
            for &slot in &seen.runs {
                let slot = slot as usize;
                let gradient = error * share(seen) + L2 * model.runs[slot] * weight;
                model.runs[slot] -= step(&mut run_sums[slot], gradient);
            }
            for &index in &seen.shapes {
                let index = usize::from(index);
                let gradient = error + L2_SHAPES * model.shapes[index] * weight;
                model.shapes[index] -= step(&mut shape_sums[index], gradient);
            }
            model.bias -= step(&mut bias_sum, error);
        }
    }
    center_shapes(&mut model, rows, &weights);
    in_steps(model)
}

/// Each list has its mass; within it, names of one registered domain weigh less the more of them there are. Then the
/// others are brought to the first letters that phishing names have, because a list may be a slice of the alphabet.
fn row_weights(rows: &[(&Row, &Seen)]) -> Vec<f32> {
    let mut names_of_domain: HashMap<(usize, &str), f64> = HashMap::new();
    for (row, _) in rows {
        *names_of_domain.entry((row.list, &row.domain)).or_default() += 1.0;
    }
    let mut weights: Vec<f64> =
        rows.iter().map(|(row, _)| 1.0 / names_of_domain[&(row.list, row.domain.as_str())].sqrt()).collect();

    let mut mass_of_list = vec![0.0; LISTS.len()];
    rows.iter().zip(&weights).for_each(|((row, _), weight)| mass_of_list[LISTS[row.list].source] += weight);
    for ((row, _), weight) in rows.iter().zip(&mut weights) {
        let source = LISTS[row.list].source;
        *weight *= LISTS[source].mass / mass_of_list[source];
    }

    let mut mass_of_letter = [[0.0; 2]; 256];
    let letter = |row: &Row| usize::from(row.name.as_bytes()[0]);
    for ((row, _), weight) in rows.iter().zip(&weights) {
        mass_of_letter[letter(row)][usize::from(row.phishing)] += weight;
    }
    for ((row, _), weight) in rows.iter().zip(&mut weights) {
        let [others, phishing] = mass_of_letter[letter(row)];
        if !row.phishing && phishing > 0.0 {
            *weight *= (OTHERS_PER_PHISHING * phishing / others).clamp(0.3, 6.0);
        }
    }

    let mass = |phishing| -> f64 {
        rows.iter().zip(&weights).filter(|((row, _), _)| row.phishing == phishing).map(|(_, weight)| weight).sum()
    };
    let others = OTHERS_PER_PHISHING * mass(true) / mass(false);
    for ((row, _), weight) in rows.iter().zip(&mut weights) {
        *weight *= if row.phishing { 1.0 } else { others };
    }
    let mean = weights.iter().sum::<f64>() / weights.len() as f64;
    weights.iter().map(|weight| (weight / mean) as f32).collect()
}

/// Brings the mean of each group of shapes to zero, so that a weight says how a name differs from the average one.
fn center_shapes(model: &mut Model, rows: &[(&Row, &Seen)], weights: &[f32]) {
    let mut mass = vec![0.0_f64; SHAPE_SLOTS];
    for ((_, seen), weight) in rows.iter().zip(weights) {
        seen.shapes.iter().for_each(|index| mass[usize::from(*index)] += f64::from(*weight));
    }
    let mut first = 0;
    for shape in SHAPES {
        let group = first..first + shape.bounds.len() + 1;
        let sum: f64 = group.clone().map(|index| mass[index] * f64::from(model.shapes[index])).sum();
        let mean = (sum / mass[group.clone()].iter().sum::<f64>()) as f32;
        group.clone().for_each(|index| model.shapes[index] -= mean);
        model.bias += mean;
        first = group.end;
    }
}

/// One weight in 2,000 is cut short for the others to have finer steps.
fn in_steps(model: Model) -> Weights {
    let mut sizes: Vec<f32> = model.runs.iter().map(|weight| weight.abs()).collect();
    sizes.sort_by(f32::total_cmp);
    let largest = sizes[sizes.len() - 1 - sizes.len() / 2_000];
    let scale = largest / f32::from(STEPS);
    let limit = f32::from(STEPS);
    let runs = model.runs.iter().map(|weight| (weight / scale).round().clamp(-limit, limit) as i8).collect();
    let (data, popular) = (String::new(), Popular::default());
    Weights { data, bias: model.bias, scale, runs, shapes: model.shapes, popular }
}

/// Changes log odds so that `half` becomes a score of 0.5 and `nine` one of 0.9.
pub(crate) fn calibrate(weights: &mut Weights, half: f64, nine: f64) {
    let factor = (9.0_f64.ln() / (nine - half)) as f32;
    weights.bias = (weights.bias - half as f32) * factor;
    weights.scale *= factor;
    weights.shapes.iter_mut().for_each(|weight| *weight *= factor);
}

/// Fisher and Yates, with the numbers of Knuth's MMIX generator.
fn shuffle(order: &mut [usize], random: &mut u64) {
    for last in (1..order.len()).rev() {
        *random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        order.swap(last, (*random >> 33) as usize % (last + 1));
    }
}
