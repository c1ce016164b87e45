//! The weights file: what the model learned, as text.
//!
//! ```text
//! ct-stream phish weights 2
//! features 1
//! data phishdb 2026-08-01, ...
//! bias -1.25
//! scale 0.05
//! shape dashes 0.1 0.2 0.3 0.4 0.5
//! ...
//! popular 2548
//! <lines of eight hashes of 16 hexadecimal digits, ascending>
//! runs
//! <131,072 characters in lines of 128: one weight each, the byte less 79, times scale>
//! checksum 0123456789abcdef
//! ```
//!
//! The checksum is FNV-1a of all bytes before its line: it finds damage, not forgery. A file of another version, or
//! for other features, is refused, as is one that is cut or changed.

use super::features::{SHAPE_SLOTS, SHAPES, SLOT_BITS, VERSION};
use super::popular::Popular;

const TITLE: &str = "ct-stream phish weights ";
const FORMAT: &str = "2";
const RUN_SLOTS: usize = 1 << SLOT_BITS;
const LINE_BYTES: usize = 128;
/// The character that says zero. The others are printable ASCII too.
const ZERO: u8 = 79;
const NUMBER_MAX: f32 = 1e6;
/// The steps on each side of zero.
pub const STEPS: i8 = 46;

/// A linear model: bias, a weight for each slot of the runs, and one for each bucket of the shape; and the domains that
/// it need not judge.
#[derive(Clone, Debug, PartialEq)]
pub struct Weights {
    /// What it was trained on, for people.
    pub data: String,
    pub bias: f32,
    /// What one step of `runs` weighs.
    pub scale: f32,
    /// From -[`STEPS`] to [`STEPS`], by slot.
    pub runs: Vec<i8>,
    pub shapes: Vec<f32>,
    pub popular: Popular,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum WeightsError {
    #[error("not a weights file: it does not begin with {TITLE:?}")]
    NotWeights,
    #[error("weights of format {0:?}; this program reads {FORMAT}")]
    Format(String),
    #[error("weights for features of version {0:?}; this program has {VERSION}")]
    Features(String),
    #[error("the file is cut: its last line is no checksum")]
    Cut,
    #[error("the checksum is wrong: the file was changed")]
    Checksum,
    #[error("no line `{0}` where it is expected, or not in its form")]
    Line(&'static str),
}

impl Weights {
    pub fn parse(text: &str) -> Result<Self, WeightsError> {
        let first = text.lines().next().unwrap_or_default();
        let format = first.strip_prefix(TITLE).ok_or(WeightsError::NotWeights)?;
        if format != FORMAT {
            return Err(WeightsError::Format(format.to_owned()));
        }
        let (body, last) = text.trim_end().rsplit_once('\n').ok_or(WeightsError::Cut)?;
        let checksum = last.strip_prefix("checksum ").ok_or(WeightsError::Cut)?;
        let body = &text[..=body.len()];
        if checksum != checksum_of(body) {
            return Err(WeightsError::Checksum);
        }
        let mut lines = body.lines().skip(1);
        let mut line = |key: &'static str| {
            let value = lines.next().and_then(|line| line.strip_prefix(key)?.strip_prefix(' '));
            value.ok_or(WeightsError::Line(key))
        };
        let features = line("features")?;
        if features.parse() != Ok(VERSION) {
            return Err(WeightsError::Features(features.to_owned()));
        }
        let data = line("data")?.to_owned();
        let bias = number(line("bias")?).ok_or(WeightsError::Line("bias"))?;
        let scale = number(line("scale")?).ok_or(WeightsError::Line("scale"))?;
        let mut shapes = Vec::with_capacity(SHAPE_SLOTS);
        for shape in SHAPES {
            let values = line("shape")?.strip_prefix(shape.name).ok_or(WeightsError::Line(shape.name))?;
            let values: Option<Vec<f32>> = values.split_ascii_whitespace().map(number).collect();
            let values = values.filter(|values| values.len() == shape.bounds.len() + 1);
            shapes.extend(values.ok_or(WeightsError::Line(shape.name))?);
        }
        let count = line("popular")?.parse().map_err(|_| WeightsError::Line("popular"))?;
        let popular = Popular::read(count, &mut lines).ok_or(WeightsError::Line("popular"))?;
        if lines.next() != Some("runs") {
            return Err(WeightsError::Line("runs"));
        }
        let mut runs = Vec::with_capacity(RUN_SLOTS);
        for byte in lines.flat_map(str::bytes) {
            let step = i16::from(byte) - i16::from(ZERO);
            let step = i8::try_from(step).ok().filter(|step| step.unsigned_abs() <= STEPS.unsigned_abs());
            runs.push(step.filter(|_| runs.len() < RUN_SLOTS).ok_or(WeightsError::Line("runs"))?);
        }
        if runs.len() < RUN_SLOTS {
            return Err(WeightsError::Line("runs"));
        }
        Ok(Self { data, bias, scale, runs, shapes, popular })
    }

    /// As a file.
    pub fn to_text(&self) -> String {
        let mut text = format!("{TITLE}{FORMAT}\nfeatures {VERSION}\ndata {}\n", self.data);
        text += &format!("bias {}\nscale {}\n", self.bias, self.scale);
        let mut shapes = self.shapes.as_slice();
        for shape in SHAPES {
            let (values, rest) = shapes.split_at(shape.bounds.len() + 1);
            let values: Vec<String> = values.iter().map(|value| format!("{value:.4}")).collect();
            text += &format!("shape {} {}\n", shape.name, values.join(" "));
            shapes = rest;
        }
        text += &format!("popular {}\n{}runs\n", self.popular.len(), self.popular.to_text());
        for line in self.runs.chunks(LINE_BYTES) {
            text.extend(line.iter().map(|step| char::from(ZERO.wrapping_add_signed(*step))));
            text.push('\n');
        }
        let checksum = checksum_of(&text);
        text + &format!("checksum {checksum}\n")
    }
}

/// No sum of such numbers leaves the range of a float.
fn number(text: &str) -> Option<f32> {
    text.parse().ok().filter(|number: &f32| number.abs() <= NUMBER_MAX)
}

/// FNV-1a, 64 bits (draft-eastlake-fnv), in hexadecimal.
fn checksum_of(text: &str) -> String {
    let hash = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    format!("{:016x}", text.bytes().fold(0xcbf2_9ce4_8422_2325, hash))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weights() -> Weights {
        let runs = (0..RUN_SLOTS).map(|slot| i8::try_from(slot % 93).expect("small") - STEPS).collect();
        let shapes = (0..SHAPE_SLOTS).map(|slot| slot as f32 / 8.0 - 3.0).collect();
        let popular = Popular::of(["example.com", "example.net", "example.org"]);
        Weights { data: "a list".to_owned(), bias: -1.25, scale: 0.05, runs, shapes, popular }
    }

    /// With the checksum that belongs to the changed text.
    fn signed(text: &str) -> String {
        let body = &text[..text.rfind("checksum").expect("a last line")];
        format!("{body}checksum {}\n", checksum_of(body))
    }

    #[track_caller]
    fn check_error(text: &str, want: &WeightsError) {
        assert_eq!(Weights::parse(text).err().as_ref(), Some(want));
    }

    #[test]
    fn what_is_written_is_read() {
        let weights = weights();
        assert!(Weights::parse(&weights.to_text()) == Ok(weights));
    }

    #[test]
    fn the_checksum_is_fnv_1a() {
        // From the draft's test vectors.
        assert_eq!(checksum_of(""), "cbf29ce484222325");
        assert_eq!(checksum_of("foobar"), "85944171f73967e8");
    }

    #[test]
    fn damage_is_found() {
        let text = weights().to_text();
        check_error("", &WeightsError::NotWeights);
        check_error("keywords:\n", &WeightsError::NotWeights);
        check_error(&text.replace("weights 2", "weights 1"), &WeightsError::Format("1".to_owned()));
        check_error(&text.replace("weights 2", "weights 3"), &WeightsError::Format("3".to_owned()));
        check_error(&text.replace("popular 3", "popular 2"), &WeightsError::Checksum);
        check_error(&text.replace("bias -1.25", "bias -1.26"), &WeightsError::Checksum);
        check_error(&text.replacen("checksum ", "checksum 0", 1), &WeightsError::Checksum);
        for end in [30, 200, text.len() / 2, text.len() - 30] {
            check_error(&text[..end], &WeightsError::Cut);
        }
        check_error("ct-stream phish weights 2", &WeightsError::Cut);
    }

    #[test]
    fn a_sound_file_must_fit() {
        let text = weights().to_text();
        let changed = |from: &str, to: &str| signed(&text.replacen(from, to, 1));
        check_error(&changed("features 1", "features 99"), &WeightsError::Features("99".to_owned()));
        check_error(&changed("bias -1.25", "bias NaN"), &WeightsError::Line("bias"));
        check_error(&changed("bias -1.25", "bias 1e7"), &WeightsError::Line("bias"));
        check_error(&changed("bias", "bios"), &WeightsError::Line("bias"));
        check_error(&changed("shape dashes", "shape commas"), &WeightsError::Line("dashes"));
        check_error(&changed("shape dashes", "shape dashes 1"), &WeightsError::Line("dashes"));
        for wrong in ["popular 2", "popular 4", "popular -1", "popular", "popular x", "popular 18446744073709551615"] {
            check_error(&changed("popular 3", wrong), &WeightsError::Line("popular"));
        }
        check_error(&changed("popular 3\n", "popular 0\n"), &WeightsError::Line("runs"));
        let hashes = weights().popular.to_text();
        let swapped = format!("{}{}{}\n", &hashes[16..32], &hashes[..16], &hashes[32..48]);
        let twice = format!("{}{}{}\n", &hashes[..16], &hashes[..16], &hashes[32..48]);
        let garbled = hashes.replacen(|byte: char| byte.is_ascii_digit(), "?", 1);
        for wrong in [&hashes[..47], &hashes[1..], &hashes[16..], &swapped, &twice, &garbled, "", "\n"] {
            check_error(&changed(&hashes, wrong), &WeightsError::Line("popular"));
        }
        check_error(&changed(&hashes, &hashes.repeat(2)), &WeightsError::Line("runs"));
        check_error(&changed("runs\n!", "runs\n"), &WeightsError::Line("runs"));
        check_error(&changed("runs\n", "runs\n!"), &WeightsError::Line("runs"));
        check_error(&changed("runs\n!", "runs\n~"), &WeightsError::Line("runs"));
    }
}
