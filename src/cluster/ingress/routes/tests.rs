//! Where routes stand, what they say, and what they leave alone.

use super::*;

const PREFIX: &str = "alb.ingress.kubernetes.io";

/// An Ingress under test.
#[derive(Clone, Debug)]
struct Shown {
    annotations: BTreeMap<String, String>,
    spec: Value,
}

fn ours() -> [String; 2] {
    ["web-stable".to_owned(), "web-canary".to_owned()]
}

fn header(name: &str, values: &[&str]) -> HeaderCondition {
    let values = values.iter().map(|value| (*value).to_owned()).collect();
    HeaderCondition { header: name.to_owned(), values, regex_values: Vec::new() }
}

fn route(name: &str) -> Route {
    Route { name: name.to_owned(), conditions: vec![header("x-beta", &["yes"])], service: "web-canary".to_owned() }
}

/// A path, such as `/shop Prefix web-root`: without a port number its action stands in an annotation.
fn path(text: &str) -> Value {
    let [path, kind, backend] = text.split(' ').collect::<Vec<_>>()[..] else { panic!("{text}") };
    let (name, port) = match backend.split_once(':') {
        Some((name, port)) => (name, json!({"number": port.parse::<u16>().unwrap()})),
        None => (backend, json!({"name": "use-annotation"})),
    };
    json!({"path": path, "pathType": kind, "backend": {"service": {"name": name, "port": port}}})
}

fn rule(host: &str, paths: &[&str]) -> Value {
    let paths: Vec<Value> = paths.iter().map(|text| path(text)).collect();
    json!({"host": host, "http": {"paths": paths}})
}

impl Shown {
    fn new(rules: Vec<Value>) -> Self {
        let action = r#"{"type":"forward","forwardConfig":{"targetGroups":[{"serviceName":"web-stable","servicePort":"http","weight":100},{"serviceName":"web-canary","servicePort":"http","weight":0}]}}"#;
        let spec = json!({"ingressClassName": "alb", "rules": rules});
        Self { annotations: BTreeMap::new(), spec }.and("actions.web-root", action)
    }

    fn and(mut self, key: &str, text: &str) -> Self {
        self.annotations.insert(format!("{PREFIX}/{key}"), text.to_owned());
        self
    }

    fn annotation(&self, key: &str) -> Option<&str> {
        self.annotations.get(&format!("{PREFIX}/{key}")).map(String::as_str)
    }

    fn add(&self, route: &Route) -> Result<Change, Trouble> {
        with(&self.annotations, &self.spec, PREFIX, &ours(), route)
    }

    fn refusal(&self, route: &Route) -> String {
        match self.add(route) {
            Err(Trouble::Refused(why)) => why,
            other => panic!("{other:?}"),
        }
    }

    /// As it is after the patch.
    fn patched(&self, change: Change) -> Self {
        let mut patched = self.clone();
        for (key, text) in change.annotations {
            match text {
                Some(text) => patched.annotations.insert(key, text),
                None => patched.annotations.remove(&key),
            };
        }
        if let Some(rules) = change.rules {
            patched.spec["rules"] = Value::Array(rules);
        }
        patched
    }

    fn with(&self, route: &Route) -> Self {
        let patched = self.patched(self.add(route).unwrap());
        assert_eq!(patched.add(route), Ok(Change::default()), "it is there already");
        patched
    }

    fn without(&self, names: &[&str]) -> Self {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let patched = self.patched(without(&self.annotations, &self.spec, PREFIX, &names));
        assert_eq!(
            without(&patched.annotations, &patched.spec, PREFIX, &names),
            Change::default(),
            "they are gone already"
        );
        patched
    }

    /// The names behind the paths of each rule.
    fn order(&self) -> Vec<Vec<String>> {
        let name = |path: &Value| path.get("backend").and_then(spec::name).unwrap_or_default().to_owned();
        spec::rules(&self.spec).iter().map(|rule| spec::paths(rule).iter().map(name).collect()).collect()
    }
}

#[test]
fn a_route_stands_before_each_path_of_ours_on_the_same_host_and_path() {
    let shown = Shown::new(vec![
        rule("a.example", &["/* ImplementationSpecific ssl-redirect", "/shop Prefix web-root", "/api Prefix api:80"]),
        json!({"host": "none.example"}),
        rule("b.example", &["/ Prefix web-root"]),
    ])
    .and("actions.ssl-redirect", r#"{"type":"redirect","redirectConfig":{"port":"443","statusCode":"HTTP_301"}}"#);
    let with = shown.with(&route("beta"));
    assert_eq!(
        with.spec["rules"],
        json!([
            rule("a.example", &["/* ImplementationSpecific ssl-redirect", "/shop Prefix beta", "/shop Prefix web-root", "/api Prefix api:80"]),
            {"host": "none.example"},
            rule("b.example", &["/ Prefix beta", "/ Prefix web-root"]),
        ])
    );
    assert_eq!(
        with.annotation("actions.beta"),
        Some(
            r#"{"type":"forward","forwardConfig":{"targetGroups":[{"serviceName":"web-canary","servicePort":"http"}]}}"#
        )
    );
    let conditions: Value = serde_json::from_str(with.annotation("conditions.beta").unwrap()).unwrap();
    let expected =
        json!([{"field": "http-header", "httpHeaderConfig": {"httpHeaderName": "x-beta", "values": ["yes"]}}]);
    assert_eq!(conditions, expected);
    assert_eq!(with.annotation("transforms.beta"), None);

    let gone = with.without(&["beta", "never"]);
    assert_eq!((&gone.annotations, &gone.spec), (&shown.annotations, &shown.spec), "nothing is left of it");
}

#[test]
fn routes_stand_in_the_order_in_which_they_were_added() {
    let shown = Shown::new(vec![rule("a", &["/ Prefix web-root"])]);
    let three = shown.with(&route("one")).with(&route("two")).with(&route("three"));
    assert_eq!(three.order(), [["one", "two", "three", "web-root"]]);
    assert_eq!(three.with(&route("one")).order(), three.order(), "each stays where it is");
    assert_eq!(three.without(&["two"]).with(&route("two")).order(), [["one", "three", "two", "web-root"]]);
    assert_eq!(three.without(&["one", "three", "two"]).order(), shown.order());
}

#[test]
fn a_route_that_stands_elsewhere_is_moved() {
    let canary =
        r#"{"type":"forward","forwardConfig":{"targetGroups":[{"serviceName":"web-canary","servicePort":"http"}]}}"#;
    for (paths, expected) in [
        // Behind, before another path, on another path, twice.
        (vec!["/ Prefix web-root", "/ Prefix beta"], vec!["beta", "web-root"]),
        (vec!["/ Prefix beta", "/a Prefix api:80", "/ Prefix web-root"], vec!["api", "beta", "web-root"]),
        (vec!["/a Prefix beta", "/ Prefix web-root"], vec!["beta", "web-root"]),
        (vec!["/ Exact beta", "/ Prefix web-root"], vec!["beta", "web-root"]),
        (vec!["/ Prefix beta", "/ Prefix beta", "/ Prefix web-root"], vec!["beta", "web-root"]),
        // Where it is: other actions for the same path may stand between.
        (vec!["/ Prefix beta", "/ Prefix vip", "/ Prefix web-root"], vec!["beta", "vip", "web-root"]),
    ] {
        let shown = Shown::new(vec![rule("a", &paths)]).and("actions.beta", canary);
        assert_eq!(shown.with(&route("beta")).order(), [expected], "{paths:?}");
    }
}

#[test]
fn conditions_and_transforms_of_the_action_hold_for_the_route() {
    let own = r#"[ {"field":"query-string", "queryStringConfig":{"values":[{"key":"v","value":"2"}]}} ]"#;
    let transforms = r#"[{"type":"url-rewrite","urlRewriteConfig":{"rewrites":[{"regex":"a","replace":"b"}]}}]"#;
    let shown = Shown::new(vec![rule("a", &["/ Prefix web-root"])])
        .and("conditions.web-root", own)
        .and("transforms.web-root", transforms);
    let regex = HeaderCondition { values: Vec::new(), regex_values: vec!["^b.*$".to_owned()], ..header("x-beta", &[]) };
    let with = shown.with(&Route { conditions: vec![regex], ..route("beta") });
    assert_eq!(
        with.annotation("conditions.beta"),
        Some(
            r#"[{"field":"http-header","httpHeaderConfig":{"httpHeaderName":"x-beta","regexValues":["^b.*$"]}},{"field":"query-string", "queryStringConfig":{"values":[{"key":"v","value":"2"}]}}]"#
        )
    );
    assert_eq!(with.annotation("transforms.beta"), Some(transforms));
    assert_eq!(with.without(&["beta"]).annotations, shown.annotations);

    // Two actions that agree, in whatever words, and two that do not.
    let second = |shown: Shown, port: &str, conditions: &str, transforms: &str| {
        let action = format!(
            r#"{{"Type":"forward","ForwardConfig":{{"TargetGroups":[{{"ServiceName":"web-canary","ServicePort":{port},"Weight":0}},{{"ServiceName":"web-stable","ServicePort":{port},"Weight":100}}]}}}}"#
        );
        let mut shown =
            shown.and("actions.other", &action).and("conditions.other", conditions).and("transforms.other", transforms);
        shown.spec["rules"] = json!([rule("a", &["/ Prefix web-root", "/x Exact other"])]);
        shown
    };
    let agrees = second(shown.clone(), "\"http\"", &own.replace("field", "Field").replace(' ', ""), transforms);
    assert_eq!(agrees.with(&route("beta")).order(), [["beta", "web-root", "beta", "other"]]);
    for (port, conditions, transforms, part) in [
        ("\"http\"", "[]", transforms, "differ in conditions"),
        ("\"http\"", own, "[]", "differ in transforms"),
        ("80", own, transforms, "differ in the port of the stable Service"),
    ] {
        let why = second(shown.clone(), port, conditions, transforms).refusal(&route("beta"));
        assert!(why.contains("other and web-root") && why.contains(part), "{why}");
    }
}

#[test]
fn what_the_built_in_router_wrote_is_there_already() {
    let shown = Shown::new(vec![rule("a", &["/ Prefix beta", "/ Prefix web-root"])])
        .and(
            "actions.beta",
            r#"{"Type":"forward","ForwardConfig":{"TargetGroups":[{"ServiceName":"web-canary","ServicePort":"http","Weight":100}]}}"#,
        )
        .and("conditions.beta", r#"[{"field":"http-header","HttpHeaderConfig":{"httpHeaderName":"x-beta","values":["yes"]}}]"#);
    assert_eq!(shown.add(&route("beta")), Ok(Change::default()));
    // Roles have changed: the Service is another, and nothing else is written.
    let swapped = Route { service: "web-stable".to_owned(), ..route("beta") };
    let change = shown.add(&swapped).unwrap();
    assert_eq!((change.annotations.len(), &change.rules), (1, &None));
}

#[test]
fn what_could_not_work_is_refused() {
    let shown = Shown::new(vec![rule("a", &["/ Prefix web-root", "/api Prefix api:80"])]);
    let canary = r#"{"type":"forward","forwardConfig":{"targetGroups":[{"serviceName":"theirs","servicePort":80}]}}"#;
    let mut only_default = shown.clone();
    only_default.spec = json!({"defaultBackend": path("/ Prefix web-root")["backend"]});
    let mut default_of_this_name = shown.clone();
    default_of_this_name.spec["defaultBackend"] = path("/ Prefix beta")["backend"].clone();
    let with_conditions = |conditions: Vec<HeaderCondition>| Route { conditions, ..route("beta") };
    for (shown, route, part) in [
        (&shown, route("web-root"), "the action web-root is what a route would stand before"),
        (&shown, route("api"), "one of its paths leads to a Service called api"),
        (&default_of_this_name, route("beta"), "its default backend is called beta"),
        (&shown.clone().and("actions.beta", canary), route("beta"), "is not that of a route to web-canary"),
        (&shown.clone().and("actions.beta", "{"), route("beta"), "is not that of a route to web-canary"),
        (&only_default, route("beta"), "no path leads to web-root"),
        (&shown.clone().and("conditions.web-root", "{}"), route("beta"), "conditions.web-root is not a list"),
        (&shown, with_conditions(Vec::new()), "would take all requests"),
        (&shown, with_conditions(vec![header("x", &[])]), "either values or regular expressions"),
        (&shown, with_conditions(vec![header("x", &["1", "2"]), header("y", &["3", "4"])]), "6 condition values"),
    ] {
        let why = shown.refusal(&route);
        assert!(why.contains(part), "{part} in {why}");
    }
    // Five are as many as there may be.
    shown.with(&with_conditions(vec![header("x", &["1", "2"]), header("y", &["3"])]));
    let none = Shown { annotations: BTreeMap::new(), ..shown };
    assert_eq!(none.add(&route("beta")), Err(Trouble::NoAction));
}

#[test]
fn what_is_no_route_is_not_taken_out() {
    let single = |service: &str| {
        format!(
            r#"{{"type":"forward","forwardConfig":{{"targetGroups":[{{"serviceName":"{service}","servicePort":80}}]}}}}"#
        )
    };
    let shown = Shown::new(vec![
        rule("a", &["/static Prefix static", "/old Prefix old:80", "/ Prefix web-root"]),
        rule("b", &["/ Prefix empty"]),
    ])
    .and("actions.static", &single("static"))
    .and("conditions.old", "[]")
    .and("actions.default", &single("web-canary"))
    .and("conditions.default", "[]");
    let mut shown = shown;
    shown.spec["defaultBackend"] = path("/ Prefix default")["backend"].clone();
    let names = ["web-root", "static", "old", "default", "empty"].map(str::to_owned);
    assert_eq!(without(&shown.annotations, &shown.spec, PREFIX, &names), Change::default());
}

#[test]
fn rests_of_a_route_are_taken_out() {
    // Somebody has put the annotations back and not the paths: each answers 503 for all requests.
    let shown = Shown::new(vec![rule("a", &["/ Prefix one", "/ Prefix two", "/ Prefix web-root"])]);
    assert_eq!(shown.without(&["one", "two"]).order(), [["web-root"]]);
    assert_eq!(shown.with(&route("two")).order(), shown.order());
    // Somebody has taken our path away.
    let shown =
        Shown::new(vec![rule("a", &["/ Prefix web-root"]), rule("b", &["/ Prefix web-root"])]).with(&route("one"));
    let mut left = shown.clone();
    left.spec["rules"][1] = rule("b", &["/ Prefix one"]);
    assert_eq!(left.without(&["one"]).order(), [["web-root"]], "a rule without paths is none");
    assert_eq!(left.with(&route("one")).order(), [["one", "web-root"]]);
}
