//! Somebody who starts the binary by hand.

use std::process::{Command, Output};

use anyhow::Result;

use crate::shop::plugin;

fn started_with(arguments: &[&str]) -> Result<Output> {
    Ok(Command::new(plugin()).args(arguments).env_clear().output()?)
}

#[test]
fn without_a_host_it_says_what_it_is_and_fails() -> Result<()> {
    let output = started_with(&[])?;
    let text = String::from_utf8(output.stderr)?;
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0));
    for part in
        ["traffic router plugin", "argo-rollouts-config", "trafficRouterPlugins", "argoproj-labs/alb: {}", "--help"]
    {
        assert!(text.contains(part), "{text}");
    }
    Ok(())
}

#[test]
fn help_teaches_and_a_wrong_argument_is_named() -> Result<()> {
    let output = started_with(&["--help"])?;
    let text = String::from_utf8(output.stdout)?;
    assert_eq!(output.status.code(), Some(0));
    for part in [
        "--allow <NAMESPACE=ARN-PATTERN>",
        "ROLLOUTS_ALB_ALLOW",
        "--block-budget <TIME>",
        "[default: 45s]",
        "--door <PROTOCOL>",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    let output = started_with(&["--alow", "x=arn:y"])?;
    let text = String::from_utf8(output.stderr)?;
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0));
    assert!(text.contains("a similar argument exists: '--allow'"), "{text}");
    Ok(())
}
