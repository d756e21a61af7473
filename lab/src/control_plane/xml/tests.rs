use std::collections::BTreeMap;

use super::*;

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Output {
    name: &'static str,
    count: u16,
    on: bool,
    absent: Option<u16>,
    present: Option<u16>,
    kind: Kind,
    list: Vec<Item>,
    empty: Vec<Item>,
    map: BTreeMap<&'static str, &'static str>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Item {
    id: u8,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
enum Kind {
    FixedResponse,
}

#[test]
fn every_shape_of_the_protocol_is_written() {
    let output = Output {
        name: "a & <b>",
        count: 0,
        on: false,
        absent: None,
        present: Some(7),
        kind: Kind::FixedResponse,
        list: vec![Item { id: 1 }, Item { id: 2 }],
        empty: Vec::new(),
        map: BTreeMap::from([("display", "page")]),
    };
    assert_eq!(
        element("Result", &output).expect("all shapes are known"),
        "<Result><Name>a &amp; &lt;b&gt;</Name><Count>0</Count><On>false</On><Present>7</Present>\
         <Kind>fixed-response</Kind><List><member><Id>1</Id></member><member><Id>2</Id></member></List><Empty></Empty>\
         <Map><entry><key>display</key><value>page</value></entry></Map></Result>"
    );
}

#[test]
fn text_is_escaped_and_what_xml_cannot_hold_is_replaced() {
    let text = element("T", "\"quoted\" & <tag>\tö\r\n\0\u{1b}").expect("text");
    assert_eq!(text, "<T>&quot;quoted&quot; &amp; &lt;tag&gt;\tö&#13;\n\u{fffd}\u{fffd}</T>");
}

#[test]
fn shapes_that_the_protocol_does_not_have_are_errors() {
    for error in [element("T", &(1, 2)).unwrap_err(), element("T", &0.5).unwrap_err()] {
        assert!(error.to_string().contains("at 'T' has no form in the query protocol"), "{error}");
        assert_eq!(ApiError::from(error).status, 500);
    }
}

#[test]
fn the_fault_says_whose_mistake_it_was() {
    let sender = error_response(Service::LoadBalancing, &ApiError::validation("<no>"), "id-1");
    assert_eq!(
        sender,
        "<ErrorResponse xmlns=\"http://elasticloadbalancing.amazonaws.com/doc/2015-12-01/\"><Error><Type>Sender</Type>\
         <Code>ValidationError</Code><Message>&lt;no&gt;</Message></Error><RequestId>id-1</RequestId></ErrorResponse>"
    );
    let receiver = ApiError { status: 503, code: "ServiceUnavailable".into(), message: String::new() };
    assert!(error_response(Service::LoadBalancing, &receiver, "id-2").contains("<Type>Receiver</Type>"));
}
