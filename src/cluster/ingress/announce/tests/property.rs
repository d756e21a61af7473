//! For any action that the controller accepts, what is written back differs in the weights of our Services and in nothing else.

use super::*;

/// JSON under construction: its text as somebody may have written it.
#[derive(Clone, Debug)]
enum Written {
    Raw(String),
    List(Vec<Self>),
    Object(Vec<(String, Self)>),
}

impl Written {
    /// Its text, with the next of these spaces wherever JSON allows one.
    fn text(&self, spaces: &mut impl Iterator<Item = String>) -> String {
        let mut space = || spaces.next().unwrap_or_default();
        let (open, parts, close) = match self {
            Self::Raw(text) => return format!("{}{text}{}", space(), space()),
            Self::List(items) => ('[', items.iter().map(|item| (None, item)).collect::<Vec<_>>(), ']'),
            Self::Object(members) => ('{', members.iter().map(|(key, value)| (Some(key), value)).collect(), '}'),
        };
        let empty = if parts.is_empty() { space() } else { String::new() };
        let parts: Vec<String> = parts
            .into_iter()
            .map(|(key, value)| match key {
                Some(key) => format!(
                    "{}{}{}:{}",
                    spaces.next().unwrap_or_default(),
                    json!(key),
                    spaces.next().unwrap_or_default(),
                    value.text(spaces)
                ),
                None => value.text(spaces),
            })
            .collect();
        format!("{open}{empty}{}{close}", parts.join(","))
    }
}

/// A key of the controller, in any case of its letters.
fn key(name: &'static str) -> impl Strategy<Value = String> {
    prop::collection::vec(any::<bool>(), name.len()).prop_map(move |capitals| {
        let letters = name.chars().zip(capitals);
        letters.map(|(letter, is_capital)| if is_capital { letter.to_ascii_uppercase() } else { letter }).collect()
    })
}

/// A member that the controller does not know: it is not a field of its own in any case of letters.
fn unknown() -> impl Strategy<Value = (String, Written)> {
    let leaf = prop_oneof![
        any::<i64>().prop_map(|number| Written::Raw(number.to_string())),
        Just(Written::Raw("1.50e+3".to_owned())),
        Just(Written::Raw("null".to_owned())),
        Just(Written::Raw(r#""\u00e9\"}]{,weight""#.to_owned())),
        any::<String>().prop_map(|text| Written::Raw(json!(text).to_string())),
    ];
    let value = leaf.prop_recursive(2, 6, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Written::List),
            prop::collection::vec(("[a-zA-Zé]{1,3}", inner), 0..3).prop_map(Written::Object),
        ]
    });
    ("[xyzé漢]{1,4}", value)
}

/// An object with these members in any order, and unknown ones between them.
fn object(members: Vec<BoxedStrategy<(String, Written)>>) -> BoxedStrategy<Written> {
    let mix = |(mut members, unknown): (Vec<_>, Vec<_>)| {
        members.extend(unknown);
        Just(members).prop_shuffle()
    };
    (members, prop::collection::vec(unknown(), 0..2)).prop_flat_map(mix).prop_map(Written::Object).boxed()
}

fn member(name: &'static str, value: impl Strategy<Value = Written> + 'static) -> BoxedStrategy<(String, Written)> {
    (key(name), value).boxed()
}

fn raw(text: impl Into<String>) -> Written {
    Written::Raw(text.into())
}

fn weight() -> impl Strategy<Value = Written> {
    prop_oneof![(0_u32..1000).prop_map(|weight| raw(weight.to_string())), Just(raw("null"))]
}

/// The target group of a Service, whose weight is one of these, or left out.
fn of_service(name: &'static str, weights: Vec<Option<Written>>) -> BoxedStrategy<Written> {
    // A letter may be written by its number.
    let (first, rest) = (name.chars().next().map_or(0, u32::from), name.chars().skip(1).collect::<String>());
    let name = prop_oneof![Just(raw(format!("\"{name}\""))), Just(raw(format!("\"\\u{first:04x}{rest}\"")))];
    let port = prop_oneof![Just(raw("80")), Just(raw("\"80\"")), Just(raw("\"http\""))];
    let with = move |weight: Option<Written>| {
        let weight = weight.map(|weight| member("weight", Just(weight)));
        let named = [member("serviceName", name.clone()), member("servicePort", port.clone())];
        object(named.into_iter().chain(weight).collect())
    };
    prop::sample::select(weights).prop_flat_map(with).boxed()
}

fn group() -> BoxedStrategy<Written> {
    let arn = object(vec![member("targetGroupARN", Just(raw("\"arn:aws:x/web-stable\""))), member("weight", weight())]);
    let of = |name| of_service(name, vec![None, Some(raw("7")), Some(raw("null"))]);
    prop_oneof![arn, of("other"), of("web-stable2"), of("öffentlich")].boxed()
}

/// An action that forwards to stable and canary with one of these weights, and to others.
fn action(stable: Vec<Option<Written>>, canary: Vec<Option<Written>>) -> impl Strategy<Value = String> {
    let ours = (of_service("web-stable", stable), of_service("web-canary", canary));
    let groups = (ours.0, ours.1, prop::collection::vec(group(), 0..3));
    let groups = groups.prop_flat_map(|(stable, canary, mut others)| {
        others.extend([stable, canary]);
        Just(others).prop_shuffle().prop_map(Written::List)
    });
    let stickiness = object(vec![
        member("enabled", any::<bool>().prop_map(|is| raw(is.to_string()))),
        member("durationSeconds", (1_u32..1000).prop_map(|seconds| raw(seconds.to_string()))),
    ]);
    let config = prop_oneof![
        object(vec![member("targetGroups", groups.clone())]),
        object(vec![member("targetGroups", groups), member("targetGroupStickinessConfig", stickiness)]),
    ];
    let action = object(vec![member("type", Just(raw("\"forward\""))), member("forwardConfig", config)]);
    (action, prop::collection::vec("[ \n\t\r]{0,2}", 40))
        .prop_map(|(action, spaces)| action.text(&mut spaces.into_iter().cycle()))
}

/// The action as the controller reads it, without the weights of our Services; and these.
fn read(text: &str) -> (Value, BTreeMap<String, Option<u64>>) {
    fn small_keys(value: Value) -> Value {
        match value {
            Value::Object(fields) => {
                fields.into_iter().map(|(key, value)| (key.to_lowercase(), small_keys(value))).collect()
            }
            Value::Array(items) => items.into_iter().map(small_keys).collect(),
            other => other,
        }
    }
    let mut action = small_keys(serde_json::from_str(text).unwrap());
    let mut weights = BTreeMap::new();
    for group in action["forwardconfig"]["targetgroups"].as_array_mut().unwrap() {
        let fields = group.as_object_mut().unwrap();
        let name = fields.get("servicename").and_then(Value::as_str).unwrap_or_default().to_owned();
        if ["web-stable", "web-canary"].contains(&name.as_str()) {
            weights.insert(name, fields.remove("weight").and_then(|weight| weight.as_u64()));
        }
    }
    (action, weights)
}

/// The first text is the second one with something left out.
fn is_within(text: &str, longer: &str) -> bool {
    let mut letters = longer.chars();
    text.chars().all(|letter| letters.any(|other| other == letter))
}

proptest! {
    #[test]
    fn it_differs_in_our_weights_and_in_nothing_else(
        text in action(
            vec![None, Some(raw("0")), Some(raw("100")), Some(raw("null"))],
            vec![None, Some(raw("0")), Some(raw("999")), Some(raw("null"))],
        ),
        canary in 0_u32..=100,
    ) {
        let wished = announcement(weights(canary));
        let new = becomes(&text, &wished).unwrap();
        let ((before, _), (after, shown)) = (read(&text), read(&new));
        prop_assert_eq!(after, before);
        let expected = weights(canary).into_iter().map(|(name, weight)| (name, Some(u64::from(weight)))).collect();
        prop_assert_eq!(shown, expected);
        prop_assert_eq!(becomes(&new, &wished), Some(new), "it stays as it is");
    }

    /// Not only in meaning: the weights are numbers that stand nowhere else, so what the text must become is known.
    #[test]
    fn the_text_differs_where_a_weight_stands_and_nowhere_else(
        text in action(vec![Some(raw("7000000001"))], vec![Some(raw("7000000002"))]),
        canary in 0_u32..=100,
    ) {
        let expected = text.replace("7000000001", &(100 - canary).to_string()).replace("7000000002", &canary.to_string());
        prop_assert_eq!(becomes(&text, &announcement(weights(canary))), Some(expected));
    }

    /// A weight that is not there comes in, and nothing goes.
    #[test]
    fn where_no_weight_stands_one_comes_in(text in action(vec![None], vec![None]), canary in 0_u32..=100) {
        let new = becomes(&text, &announcement(weights(canary))).unwrap();
        prop_assert!(is_within(&text, &new), "{new} was {text}");
        let added = |weight: u32| format!(r#","weight":{weight}"#).len();
        prop_assert_eq!(new.len(), text.len() + added(canary) + added(100 - canary));
    }
}
