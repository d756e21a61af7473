//! Managed routes in an Ingress. Pure.
//!
//! The controller makes one rule of each path, in their order: exact paths, then prefixes from the longest on, then all others;
//! among those that are alike in this the order stays (`sortIngressPaths` in `pkg/ingress/model_build_listener_rules.go`). So a path
//! right before another with the same `path` and `pathType` gets the requests first. Conditions and transforms are looked up by
//! the name of the backend, whatever its port.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::action::{self, Forwarding};
use super::members::{elements, meaning};
use super::spec;
use crate::cluster::{HeaderCondition, Route};

/// ELBv2 takes no more condition values in one rule, and this quota cannot be raised.
const MOST_VALUES: usize = 5;

/// What is to be written.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Change {
    /// New texts, or none for annotations that go.
    pub(super) annotations: BTreeMap<String, Option<String>>,
    /// All rules of the Ingress, if some of them change.
    pub(super) rules: Option<Vec<Value>>,
}

/// Why a route cannot be there.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// No action is ours.
    NoAction,
    /// In words.
    Refused(String),
}

/// What brings the route into the Ingress. Changes nothing if it is there already.
pub(super) fn with(
    annotations: &BTreeMap<String, String>,
    spec: &Value,
    prefix: &str,
    ours: &[String; 2],
    route: &Route,
) -> Result<Change, Trouble> {
    let actions = action::that_name(ours, annotations, prefix);
    if actions.is_empty() {
        return Err(Trouble::NoAction);
    }
    let names: BTreeSet<&str> = actions.iter().map(|(name, ..)| *name).collect();
    if let Some(why) = foreign(annotations, spec, prefix, &names, ours, route) {
        return Err(Trouble::Refused(why));
    }
    let behind = Behind::of(annotations, spec, prefix, &ours[0], actions).map_err(Trouble::Refused)?;
    let conditions = conditions(&behind, route).map_err(Trouble::Refused)?;
    fits(spec, &behind, &conditions).map_err(Trouble::Refused)?;
    let action = format!(
        r#"{{"type":"forward","forwardConfig":{{"targetGroups":[{{"serviceName":{},"servicePort":{}}}]}}}}"#,
        json!(route.service),
        behind.port
    );
    let mut change = Change::default();
    let wished = [
        ("actions", Some(action.as_str())),
        ("conditions", Some(conditions.as_str())),
        ("transforms", behind.transforms),
    ];
    for (part, wished) in wished {
        let key = action::key(prefix, part, &route.name);
        if !is_shown(part, annotations.get(&key).map(String::as_str), wished) {
            change.annotations.insert(key, wished.map(str::to_owned));
        }
    }
    change.rules = changed(spec, |paths| placed(paths, &route.name, &behind.names));
    Ok(change)
}

/// What takes managed routes of these names out. An action of such a name that is no such route stays.
pub(super) fn without(annotations: &BTreeMap<String, String>, spec: &Value, prefix: &str, names: &[String]) -> Change {
    let key = |part: &str, name: &str| action::key(prefix, part, name);
    let is_free = |name: &&String| {
        let mut others = spec::backends(spec).filter(|backend| spec::action(backend).is_none());
        let is_default = spec::default_backend(spec).and_then(spec::name) == Some(name);
        !is_default && !others.any(|backend| spec::name(backend) == Some(name))
    };
    // Of some only paths are left: whoever put the annotations back to what they were has not touched the spec.
    let names = names.iter().filter(is_free).map(|name| (name.as_str(), annotations.get(&key("actions", name))));
    let (routes, rests): (Vec<_>, Vec<_>) = names.partition(|(_, action)| action.is_some());
    let is_route = |(name, action): &(&str, Option<&String>)| {
        let action = action.and_then(|text| Forwarding::of(text));
        action.is_some_and(|action| action.groups.len() == 1) && annotations.contains_key(&key("conditions", name))
    };
    let routes: BTreeSet<&str> = routes.into_iter().filter(is_route).map(|(name, _)| name).collect();
    let rests: BTreeSet<&str> = rests.into_iter().map(|(name, _)| name).collect();
    let gone = |path: &Value, next: Option<&Value>| {
        let Some(name) = spec::action_of(path) else { return false };
        let stands_before = next.is_some_and(|next| spec::is_same(path, next) && spec::action_of(next).is_some());
        routes.contains(name) || (rests.contains(name) && stands_before)
    };
    let rules = changed(spec, |paths| {
        let nexts = paths.iter().skip(1).map(Some).chain([None]);
        let stay = paths.iter().zip(nexts).filter(|(path, next)| !gone(path, *next));
        stay.map(|(path, _)| path.clone()).collect()
    });
    let parts = ["actions", "conditions", "transforms"];
    let keys = routes.iter().chain(&rests).flat_map(|name| parts.map(|part| key(part, name)));
    let annotations = keys.filter(|key| annotations.contains_key(key)).map(|key| (key, None)).collect();
    Change { annotations, rules }
}

impl Change {
    pub(super) fn is_empty(&self) -> bool {
        self.annotations.is_empty() && self.rules.is_none()
    }
}

/// What the paths share that a route stands before.
struct Behind<'a> {
    /// The actions that they lead to.
    names: BTreeSet<&'a str>,
    /// The port of stable, as it is written.
    port: &'a str,
    /// Their conditions, each as it is written.
    conditions: Vec<&'a str>,
    transforms: Option<&'a str>,
}

impl<'a> Behind<'a> {
    fn of(
        annotations: &'a BTreeMap<String, String>,
        spec: &Value,
        prefix: &str,
        stable: &str,
        mut actions: Vec<(&'a str, &'a str, Forwarding<'a>)>,
    ) -> Result<Self, String> {
        let led_to: BTreeSet<&str> =
            spec::rules(spec).iter().flat_map(spec::paths).filter_map(spec::action_of).collect();
        let all: Vec<&str> = actions.iter().map(|(name, ..)| *name).collect();
        let all = all.join(", ");
        actions.retain(|(name, ..)| led_to.contains(name));
        let text = |part: &str, name: &str| annotations.get(&action::key(prefix, part, name)).map(String::as_str);
        let [(first, _, forwarding), others @ ..] = actions.as_slice() else {
            return Err(format!("no path leads to {all}; a route needs one to stand before, such as path: /"));
        };
        let group = forwarding.group(stable);
        let port = group.and_then(|group| group.written_port().zip(group.port()));
        let (port, number) = port.ok_or_else(|| format!("its action {first} gives {stable} no servicePort"))?;
        for (other, _, forwarding) in others {
            let differs = |what: &str| {
                Err(format!("its actions {first} and {other} differ in {what}, and a route has one for all of them"))
            };
            for part in ["conditions", "transforms"] {
                if !is_shown(part, text(part, first), text(part, other)) {
                    return differs(part);
                }
            }
            if forwarding.group(stable).and_then(|group| group.port()) != Some(number.clone()) {
                return differs("the port of the stable Service");
            }
        }
        let conditions = match text("conditions", first) {
            None => Vec::new(),
            Some(text) => elements(text)
                .ok_or_else(|| format!("its annotation {prefix}/conditions.{first} is not a list in JSON"))?
                .into_iter()
                .map(|condition| condition.get())
                .collect(),
        };
        let names = actions.iter().map(|(name, ..)| *name).collect();
        Ok(Self { names, port, conditions, transforms: text("transforms", first) })
    }
}

/// Why the route's name is not free.
fn foreign(
    annotations: &BTreeMap<String, String>,
    spec: &Value,
    prefix: &str,
    actions: &BTreeSet<&str>,
    ours: &[String; 2],
    route: &Route,
) -> Option<String> {
    let name = route.name.as_str();
    let key = action::key(prefix, "actions", name);
    let is_route = |text: &String| {
        Forwarding::of(text).is_some_and(|action| match action.groups.as_slice() {
            [group] => group.service.as_ref().is_some_and(|to| ours.contains(to) || *to == route.service),
            _ => false,
        })
    };
    let mut services = spec::backends(spec).filter(|backend| spec::action(backend).is_none());
    let who = if actions.contains(name) {
        format!("the action {name} is what a route would stand before")
    } else if spec::default_backend(spec).and_then(spec::name) == Some(name) {
        format!("its default backend is called {name}")
    } else if services.any(|backend| spec::name(backend) == Some(name)) {
        format!("one of its paths leads to a Service called {name}")
    } else if annotations.get(&key).is_some_and(|text| !is_route(text)) {
        format!("its annotation {key} is not that of a route to {}", route.service)
    } else {
        return None;
    };
    Some(format!("{who}; give the managed route another name"))
}

/// The conditions of a route, and those of the actions behind it.
fn conditions(behind: &Behind<'_>, route: &Route) -> Result<String, String> {
    if route.conditions.is_empty() {
        return Err(format!("the route {} has no conditions, and would take all requests", route.name));
    }
    let condition = |condition: &HeaderCondition| {
        let HeaderCondition { header, values, regex_values } = condition;
        // The controller takes one of the two (`pkg/ingress/config_types.go`).
        let (key, values) = match (values.as_slice(), regex_values.as_slice()) {
            (values @ [_, ..], []) => ("values", values),
            ([], values @ [_, ..]) => ("regexValues", values),
            _ => return Err(format!("the route's condition on {header} needs either values or regular expressions")),
        };
        Ok(json!({"field": "http-header", "httpHeaderConfig": {"httpHeaderName": header, key: values}}).to_string())
    };
    let own = route.conditions.iter().map(condition).collect::<Result<Vec<_>, _>>()?;
    let all: Vec<&str> = own.iter().map(String::as_str).chain(behind.conditions.iter().copied()).collect();
    Ok(format!("[{}]", all.join(",")))
}

/// One rule that ELBv2 refuses stops the controller's work on the whole group of Ingresses.
fn fits(spec: &Value, behind: &Behind<'_>, conditions: &str) -> Result<(), String> {
    let conditions = meaning(conditions).unwrap_or_default();
    let configs = conditions.as_array().into_iter().flatten().filter_map(Value::as_object).flat_map(|all| all.values());
    let lists = configs.flat_map(|config| ["values", "regexvalues"].map(|list| config.get(list)));
    let values: usize = lists.flatten().filter_map(Value::as_array).map(Vec::len).sum();
    for rule in spec::rules(spec) {
        let text =
            |object: &Value, field: &str| object.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
        let host = text(rule, "host");
        for path in spec::paths(rule).iter().filter(|path| leads(path, &behind.names)) {
            let pattern = text(path, "path");
            let patterns = match (pattern.as_str(), text(path, "pathType").as_str()) {
                ("", _) => 0,
                ("/", _) => 1,
                // The path itself, and what is below it.
                (_, "Prefix") => 2,
                _ => 1,
            };
            let all = values + patterns + usize::from(!host.is_empty());
            if all > MOST_VALUES {
                return Err(format!(
                    "the rule of the route for host '{host}' and path '{pattern}' would have {all} condition values, and ELBv2 \
                     takes {MOST_VALUES}; match fewer values, or fewer headers"
                ));
            }
        }
    }
    Ok(())
}

/// What is written means what is wished.
fn is_shown(part: &str, written: Option<&str>, wished: Option<&str>) -> bool {
    let (Some(written), Some(wished)) = (written, wished) else { return written == wished };
    if part != "actions" {
        let meant = meaning(wished);
        return written == wished || (meant.is_some() && meaning(written) == meant);
    }
    // All the traffic goes to one Service: the weight does not count.
    let goes_to = |text| {
        let forwards = Forwarding::of(text)?.forwards();
        Some(forwards.into_iter().map(|to| (to.service, to.port)).collect::<Vec<_>>())
    };
    goes_to(written) == goes_to(wished)
}

/// All rules with other paths, if some are others. A rule that has lost all its paths goes: the API server takes none without.
fn changed(spec: &Value, paths: impl Fn(&[Value]) -> Vec<Value>) -> Option<Vec<Value>> {
    let mut is_changed = false;
    let mut rules = Vec::new();
    for rule in spec::rules(spec) {
        let old = spec::paths(rule);
        let new = paths(old);
        let mut rule = rule.clone();
        if new != old {
            is_changed = true;
            if new.is_empty() {
                continue;
            }
            if let Some(written) = rule.pointer_mut("/http/paths") {
                *written = Value::Array(new);
            }
        }
        rules.push(rule);
    }
    is_changed.then_some(rules)
}

/// The paths with one of the route before each that leads to one of our actions, behind other routes that are there. What
/// stands elsewhere goes.
fn placed(paths: &[Value], route: &str, ours: &BTreeSet<&str>) -> Vec<Value> {
    let mut new: Vec<Value> = Vec::new();
    let mut rest = paths;
    while let [path, later @ ..] = rest {
        rest = later;
        let is_here = |new: &[Value], before: &Value| {
            let mut run = new.iter().rev().take_while(|other| is_in_run(other, before, ours));
            run.any(|other| spec::action_of(other) == Some(route))
        };
        if spec::action_of(path) == Some(route) {
            let before = later.iter().find(|other| !is_in_run(other, path, ours));
            let is_right = before.is_some_and(|before| spec::is_same(before, path) && leads(before, ours));
            if !is_right || is_here(&new, path) {
                continue;
            }
        } else if leads(path, ours) && !is_here(&new, path) {
            new.push(before(path, route));
        }
        new.push(path.clone());
    }
    new
}

/// A path that may stand between a route and the path that the route is for: another route, or what its author wants first.
fn is_in_run(path: &Value, before: &Value, ours: &BTreeSet<&str>) -> bool {
    spec::is_same(path, before) && spec::action_of(path).is_some() && !leads(path, ours)
}

fn leads(path: &Value, ours: &BTreeSet<&str>) -> bool {
    spec::action_of(path).is_some_and(|name| ours.contains(name))
}

/// The route's path for the requests of this one.
fn before(path: &Value, route: &str) -> Value {
    let mut new = path.clone();
    if let Some(fields) = new.as_object_mut() {
        let backend = json!({"service": {"name": route, "port": {"name": action::USE_ANNOTATION}}});
        fields.insert("backend".to_owned(), backend);
    }
    new
}

#[cfg(test)]
mod tests;
