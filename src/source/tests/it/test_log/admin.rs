//! The admin address of the stand-alone program: `GET /admin/VERB?log=NAME…`, without `log` for all logs.
//!
//! | verb | does |
//! |---|---|
//! | `logs` | describes the logs |
//! | `grow?entries=N` | publishes N more entries |
//! | `fail?rule=RULE` | adds a rule, in the text form of `faults.rs` |
//! | `heal` | drops all rules |
//! | `record` | what clients asked and got |
//! | `forget` | empties the record |

use serde_json::{Map, Value};

use super::faults::Rule;
use super::http::{Answer, Request};
use super::list::describe;
use super::log::Log;

/// The answer has one item for each log concerned, under its name.
pub(super) fn answer(verb: &str, request: &Request, logs: &[&Log]) -> Answer {
    let name = request.param("log");
    let mut items = Map::new();
    for log in logs.iter().filter(|log| name.as_ref().is_none_or(|name| name == log.name())) {
        match act(verb, request, log) {
            Ok(item) => drop(items.insert(log.name().to_owned(), item)),
            Err(why) => return Answer::refusal(400, &why),
        }
    }
    if items.is_empty() {
        return Answer::refusal(404, "no such log");
    }
    Answer::json(Value::from(items).to_string())
}

fn act(verb: &str, request: &Request, log: &Log) -> Result<Value, String> {
    match verb {
        "logs" => {}
        "grow" => {
            log.grow(request.number("entries").ok_or("entries is needed")?);
        }
        "fail" => log.fail(request.param("rule").ok_or("rule is needed")?.parse::<Rule>()?),
        "heal" => log.heal(),
        "record" => return Ok(log.ledger.record().to_json()),
        "forget" => log.ledger.clear(),
        _ => return Err("known are logs, grow, fail, heal, record, forget".to_owned()),
    }
    Ok(describe(log))
}
