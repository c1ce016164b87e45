//! What the checks say of certificates that were made for one fault each.

mod browsers;
mod faults;
mod hostile;
mod made;
mod options;
mod periods;

use ct_model::Timestamp;
use serde_json::{Value, json};

use super::{Policy, Verdict};
use made::Made;

const ALL: [&str; 4] = ["br", "chrome-ct", "apple-ct", "hygiene"];

fn policy(options: Value) -> Policy {
    let Value::Object(options) = options else { panic!("a table of options") };
    Policy::prepare(&options).expect("options without mistakes")
}

fn time(text: &str) -> Timestamp {
    Timestamp::from_rfc3339(text).expect("a time")
}

/// Ids of the checks that fail.
fn failures(policy: &Policy, der: &[u8], seen: Option<Timestamp>) -> Vec<&'static str> {
    let judgements = policy.judge(der, seen);
    let failed = judgements.iter().filter(|judgement| matches!(judgement.verdict, Verdict::Fail(_)));
    failed.map(|judgement| judgement.check.id).collect()
}

/// What the checks of one id say; a regime that is not effective gives way to the one that is.
fn verdict(policy: &Policy, der: &[u8], id: &str) -> Verdict {
    let judgements = policy.judge(der, None);
    let verdicts: Vec<Verdict> = judgements
        .into_iter()
        .filter(|judgement| judgement.check.id == id)
        .map(|judgement| judgement.verdict)
        .collect();
    let effective = verdicts.iter().find(|verdict| **verdict != Verdict::NotEffective);
    effective.or(verdicts.first()).expect("an id of a check").clone()
}

fn rules() -> Policy {
    policy(json!({"profiles": ["br", "hygiene"]}))
}

#[test]
fn nothing_is_wrong_with_a_good_certificate() {
    assert_eq!(failures(&rules(), &Made::new().der(), None), [""; 0]);
    let in_three_profiles = failures(&policy(json!({"profiles": ALL})), &Made::new().der(), None);
    assert_eq!(in_three_profiles, ["ct.chrome_sct_count", "ct.apple_sct_count"]);
}
