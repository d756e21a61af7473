//! The IAM policies grant what the plugin calls, and no more.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::text;

/// The folders of `deploy/iam`, each the prefix of its ARNs (AWS General Reference, "Amazon Resource Names").
const PARTITIONS: [&str; 3] = ["aws", "aws-cn", "aws-us-gov"];

const READS: [&str; 5] =
    ["DescribeListeners", "DescribeRules", "DescribeTags", "DescribeTargetGroups", "DescribeTargetHealth"];
const WRITES: [&str; 5] = ["AddTags", "CreateRule", "DeleteRule", "ModifyListener", "ModifyRule"];

/// The tag by which the plugin knows rules of its own.
const TAG: &str = "trafficrouter-alb/rollout";

fn statements(partition: &str, name: &str) -> Result<Vec<Value>> {
    let file = format!("deploy/iam/{partition}/{name}.json");
    let policy: Value = serde_json::from_str(&text(&file)?).with_context(|| file.clone())?;
    assert_eq!(policy.get("Version"), Some(&Value::from("2012-10-17")), "{file}");
    policy.get("Statement").and_then(Value::as_array).cloned().with_context(|| file)
}

/// One text, or several.
fn texts(value: &Value) -> Vec<&str> {
    match value {
        Value::Array(values) => values.iter().filter_map(Value::as_str).collect(),
        value => value.as_str().into_iter().collect(),
    }
}

fn actions(statements: &[Value]) -> BTreeSet<String> {
    statements.iter().flat_map(|statement| texts(&statement["Action"])).map(str::to_owned).collect()
}

fn named(operations: impl IntoIterator<Item = &'static str>) -> BTreeSet<String> {
    operations.into_iter().map(|operation| format!("elasticloadbalancing:{operation}")).collect()
}

#[test]
fn the_policies_name_every_right_that_is_used() -> Result<()> {
    for partition in PARTITIONS {
        assert_eq!(actions(&statements(partition, "observe")?), named(READS));
        assert_eq!(actions(&statements(partition, "drive")?), named(READS.into_iter().chain(WRITES)));
        assert_eq!(actions(&statements(partition, "assume-role")?), BTreeSet::from(["sts:AssumeRole".to_owned()]));
    }
    Ok(())
}

#[test]
fn partitions_differ_in_the_prefix_of_their_arns() -> Result<()> {
    for name in ["drive", "observe", "assume-role"] {
        let first = text(format!("deploy/iam/aws/{name}.json"))?;
        for partition in PARTITIONS {
            let expected = first.replace("\"arn:aws:", &format!("\"arn:{partition}:"));
            assert_eq!(text(format!("deploy/iam/{partition}/{name}.json"))?, expected, "{partition} {name}");
        }
    }
    Ok(())
}

#[test]
fn writes_reach_rules_and_listeners_only_and_rules_are_made_and_deleted_by_their_tag() -> Result<()> {
    for statement in statements("aws", "drive")? {
        let (operations, resources) = (texts(&statement["Action"]), texts(&statement["Resource"]));
        if operations.iter().all(|operation| operation.contains(":Describe")) {
            assert_eq!(resources, ["*"]);
            continue;
        }
        let prefixes = [":listener-rule/app/", ":listener/app/", ":listener/net/"];
        for resource in resources {
            ensure!(prefixes.iter().any(|prefix| resource.contains(prefix)), "{statement}");
        }
        let [operation] = operations[..] else { anyhow::bail!("one statement a write: {statement}") };
        let key = match operation {
            "elasticloadbalancing:CreateRule" | "elasticloadbalancing:AddTags" => "aws:RequestTag",
            "elasticloadbalancing:DeleteRule" => "aws:ResourceTag",
            _ => continue,
        };
        assert_eq!(statement["Condition"]["Null"][format!("{key}/{TAG}")], "false", "{statement}");
    }
    Ok(())
}
