//! `docs/configuration.md` says what the program says.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, ensure};
use clap::CommandFactory as _;
use serde_json::{Map, Value, json};
use trafficrouter_alb::config::Arguments;

use super::text;
use crate::host;
use crate::shop::Shop;

/// The rows of the table in this section, cell by cell.
fn rows(section: &str) -> Result<Vec<Vec<String>>> {
    let document = text("docs/configuration.md")?;
    let heading = format!("\n## {section}\n");
    let (_, rest) = document.split_once(&heading).with_context(|| format!("a section {section}"))?;
    let part = rest.split("\n## ").next().unwrap_or_default();
    let cells = |line: &str| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect();
    Ok(part.lines().filter(|line| line.starts_with("| `")).map(cells).collect())
}

/// The text between backticks, or nothing.
fn code(cell: &str) -> &str {
    cell.trim_matches('`')
}

#[test]
fn every_argument_stands_in_the_table_as_it_is() -> Result<()> {
    let documented: Vec<[String; 3]> = rows("Arguments")?
        .iter()
        .map(|row| match &row[..] {
            [argument, variable, default, ..] => Ok([argument, variable, default].map(|cell| code(cell).to_owned())),
            row => anyhow::bail!("{row:?}"),
        })
        .collect::<Result<_>>()?;
    let command = Arguments::command();
    let arguments = command.get_arguments().filter_map(|argument| {
        let value = argument.get_value_names().and_then(|names| names.first());
        let spelled = format!("--{} {}", argument.get_long()?, value?);
        let variable = argument.get_env().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let default = argument.get_default_values().first();
        Some([spelled, variable, default.map(|value| value.to_string_lossy().into_owned()).unwrap_or_default()])
    });
    assert_eq!(documented, arguments.collect::<Vec<_>>());
    Ok(())
}

/// The keys that the plugin says it understands, `gates.rising` for those within another key. `within` are those keys.
async fn understood(host: &host::Host, within: &BTreeSet<&str>) -> Result<BTreeSet<String>> {
    let unknown = json!({"zzz": 1});
    let inner = within.iter().map(|key| ((*key).to_owned(), unknown.clone()));
    let entry: Map<String, Value> = [("zzz".to_owned(), json!(1))].into_iter().chain(inner).collect();
    let error = host.set_weight(&host::rollout("shop", "web", &Value::Object(entry)), 10).await.err();
    let error = error.context("keys that nobody knows are refused")?.to_string();
    let mut keys = BTreeSet::new();
    for (unknown, rest) in error.split('`').zip(error.split('`').skip(1)) {
        let Some(list) = rest.strip_prefix(" is not a key of this plugin; it understands ") else { continue };
        let prefix = unknown.strip_suffix("zzz").context("the key that was given")?;
        let list = list.split(';').next().unwrap_or_default();
        keys.extend(list.split(", ").map(|key| format!("{prefix}{}", key.trim())));
    }
    ensure!(!keys.is_empty(), "{error}");
    Ok(keys)
}

#[tokio::test]
async fn every_key_of_an_entry_stands_in_the_table_and_its_example_is_one() -> Result<()> {
    let documented: BTreeMap<String, Value> = rows("The entry")?
        .iter()
        .map(|row| match &row[..] {
            [key, _, _, _, example, _] => Ok((
                code(key).to_owned(),
                serde_json::from_str(code(example)).with_context(|| format!("the example of {key}"))?,
            )),
            row => anyhow::bail!("{row:?}"),
        })
        .collect::<Result<_>>()?;
    let within: BTreeSet<&str> = documented.keys().filter_map(|key| Some(key.split_once('.')?.0)).collect();
    let shop = Shop::open().await?;
    let host = shop.host_with(&["--block-budget", "1s", "--allow", "shop=*"], &[]).await?;
    assert_eq!(documented.keys().cloned().collect::<BTreeSet<_>>(), understood(&host, &within).await?);

    // An example may need other keys beside it, but its value is never what is wrong.
    let entries = documented.iter().map(|(key, example)| match key.split_once('.') {
        Some((outer, inner)) => (key, json!({ outer: { inner: example } })),
        None => (key, json!({ key.as_str(): example })),
    });
    let asked = entries.map(|(key, entry)| {
        let (host, rollout) = (&host, host::rollout("shop", "web", &entry));
        async move {
            let error = host.set_weight(&rollout, 10).await.err().map(|error| error.to_string()).unwrap_or_default();
            let blames = |words: &str| error.contains(&format!("{key}{words}"));
            let of_the_entry = error.contains(&format!("plugin entry {}:", host::PLUGIN));
            (of_the_entry && (blames(" must") || blames(": "))).then_some(error)
        }
    });
    let wrong: Vec<String> = futures_util::future::join_all(asked).await.into_iter().flatten().collect();
    assert_eq!(wrong, Vec::<String>::new());
    Ok(())
}
