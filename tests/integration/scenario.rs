//! One scenario for every host and both doors: `tests/data/scenario.jsonl`, a call a line. Since the expected answers
//! are exact, what plays it through gives the same answers as all others that do.

use anyhow::{Context as _, Result};
use futures_util::future::join_all;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::host::Host;
use crate::shop::Shop;

const LINES: &str = include_str!("../data/scenario.jsonl");

/// One call and its outcome.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    #[expect(dead_code, reason = "shown when the step fails")]
    why: String,
    /// The method.
    call: String,
    /// Its arguments but the Rollout, as the host takes them.
    #[serde(default)]
    fields: Map<String, Value>,
    /// How its Rollout differs from the shop's, as a JSON merge patch (RFC 7396).
    #[serde(default = "no_change")]
    rollout: Value,
    /// The result of a call that succeeds; absent where there is none.
    #[serde(default)]
    result: Value,
    /// The whole text of the error. ARNs stand as `{stable}`.
    error: Option<String>,
    /// `stable:canary` of both rules afterwards.
    weights: [String; 2],
}

/// Plays the scenario in a new shop.
pub(crate) async fn play(shop: &Shop, host: &Host) -> Result<()> {
    let parsed =
        LINES.lines().map(|line| serde_json::from_str(line).with_context(|| format!("in the scenario: {line}")));
    let steps: Vec<Step> = parsed.collect::<Result<_>>()?;
    // An error changes nothing and may take two seconds, so errors in a row are played side by side.
    for together in steps.chunk_by(|one, next| one.error.is_some() && next.error.is_some()) {
        join_all(together.iter().map(|step| answers(shop, host, step))).await;
        for step in together {
            assert_eq!(shop.weights().await?, step.weights, "{step:?}");
        }
    }
    Ok(())
}

async fn answers(shop: &Shop, host: &Host, step: &Step) {
    let mut rollout = shop.rollout();
    merge(&mut rollout, &step.rollout);
    let mut fields = step.fields.clone();
    fields.insert("rollout".to_owned(), rollout);
    let answer = match host.call(&step.call, Value::Object(fields)).await {
        Ok(done) => Ok(done.result),
        Err(error) => Err(error.to_string().replace(&shop.arns.stable, "{stable}")),
    };
    let expected = step.error.clone().map_or_else(|| Ok(step.result.clone()), Err);
    assert_eq!(answer, expected, "{step:?}");
}

fn no_change() -> Value {
    Value::Object(Map::new())
}

/// A merge patch: objects are merged, null takes away, all else takes the place of what was there.
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        target.clone_from(patch);
        return;
    };
    if !target.is_object() {
        *target = no_change();
    }
    let target = target.as_object_mut().expect("it is an object now");
    for (key, value) in patch {
        if value.is_null() {
            target.remove(key);
        } else {
            merge(target.entry(key).or_insert(Value::Null), value);
        }
    }
}
