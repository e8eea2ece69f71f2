use proptest::prelude::*;
use serde_json::{Map, Number, Value as Json};

use super::*;

fn text_of(line: &[u8], key: &Key) -> Option<String> {
    value_of(line, key).map(|found| found.value.text().into_owned())
}

fn accepts(conditions: &str, line: &str) -> bool {
    FieldFilter::parse(conditions).unwrap().accepts(line.as_bytes())
}

const REQUEST: &str = r#"{"time":"2026-11-28T14:02:07.120Z","level":"error","msg":"request failed","status":503,"path":"/api/v1/items","user":{"id":7,"name":"Ada \"x\""},"http.method":"GET","latency":"812ms","tags":["a","slow"],"ok":false,"parent":null,"ratio":0.5,"trace":12345678901234567890}"#;
const LOGFMT: &str = r#"14:02:07 ts=1.5 level=warn msg="request failed" status=503 path=/api/v1 user.id=7 took=1.2s"#;

#[test]
fn conditions_hold_of_fields() {
    for (conditions, json, logfmt) in [
        ("status=503", true, true),
        ("status=503.0", true, true),
        ("status=50", false, false),
        ("status>=500", true, true),
        ("status>503", false, false),
        ("status<1000", true, true),
        ("status<=502", false, false),
        ("status!=503", false, false),
        ("status!=200", true, true),
        ("status", true, true),
        ("!status", false, false),
        ("nothing", false, false),
        ("!nothing", true, true),
        ("nothing!=1", true, true),
        ("nothing>1", false, false),
        ("path:/API", true, true),
        ("path!:/api", false, false),
        ("path~^/api/v\\d+", true, true),
        ("path!~^/api", false, false),
        ("path:api/v2", false, false),
        ("user.id=7", true, true),
        ("user.id=8", false, false),
        ("user.name:Ada", true, false),
        (r#"user.name="Ada \"x\"""#, true, false),
        ("http.method=GET", true, false),
        ("http.method=get", false, false),
        ("msg:\"request failed\"", true, true),
        ("msg=\"request failed\"", true, true),
        ("message:failed", true, true),
        ("level=error", true, false),
        ("level>=warn", true, true),
        ("level>warning", true, false),
        ("level!=error", false, true),
        ("latency>500ms", true, false),
        ("latency>=0.812s", true, false),
        ("latency<1s took>1s", false, false),
        ("took>1s", false, true),
        ("took=1200ms", false, true),
        ("tags=slow", true, false),
        ("tags:SL", true, false),
        ("tags=none", false, false),
        ("ok=false", true, false),
        ("parent=null", true, false),
        ("ratio<1", true, false),
        ("trace=12345678901234567890", true, false),
        ("trace=12345678901234567891", false, false),
        ("user", false, false),
        ("status>=500 path:/api user.id=7", true, true),
        ("status>=500 path:/web user.id=7", false, false),
    ] {
        assert_eq!(accepts(conditions, REQUEST), json, "{conditions} in JSON");
        assert_eq!(accepts(conditions, LOGFMT), logfmt, "{conditions} in logfmt");
    }
}

#[test]
fn json_may_stand_behind_other_text_or_be_cut() {
    let line = r#"12:00 host=web1 app[7]: {"status":503,"a":{"b":{"c":1}}} took=5ms"#;
    assert!(accepts("status=503 host=web1 a.b.c=1", line));
    assert!(accepts("a.b.c=1", r#"{"a.b":{"c":1}}"#));
    assert!(accepts("a.b.c=1", r#"{"a":{"b.c":1}}"#));
    assert!(accepts("status=503", r#"{"status":503,"msg":"cut in the mid"#));
    assert!(accepts("status=503", r#"{not json} status=503"#));
    assert!(!accepts("status=503", r#"{"other":"status=503"}"#));
    assert!(accepts("status=503", r#"INFO {main} {"status":503}"#));
    assert!(accepts("status=503", r#"headers={} {"status":503}"#));
    assert!(accepts("inner.status>=500", r#"{"status":200,"inner":{"status":503}}"#));
    assert!(accepts("n.ab=-20", r#"{"n":{"ab" : -2e1}}"#));
    assert!(accepts("version:1.0", r#"{"version":1.0}"#));
    assert!(accepts(
        "id=123456789012345678901234567890",
        r#"{"id":123456789012345678901234567890}"#
    ));
    assert!(!accepts(
        "id=123456789012345678901234567890",
        r#"{"id":123456789012345678901234567891}"#
    ));
    assert!(!accepts("x=1", "no fields at all"));
    let deep = format!("{}{}", r#"{"a":"#.repeat(1000), "1");
    assert!(!accepts("b=1", &deep));
}

#[test]
fn severities_of_programs_are_one_scale() {
    for (conditions, line, wanted) in [
        ("level>=error", r#"{"level":50,"msg":"pino"}"#, true),
        ("level>=error", r#"{"level":40,"msg":"pino"}"#, false),
        ("level=error", r#"{"severityNumber":17,"body":"otel"}"#, true),
        ("level=error", r#"{"log":{"level":"ERROR"}}"#, true),
        ("level=error", r#"{"log.level":"error"}"#, true),
        ("level=error", r#"{"levelno":40}"#, true),
        ("level=50", r#"{"level":50}"#, true),
    ] {
        assert_eq!(accepts(conditions, line), wanted, "{conditions} in {line}");
    }
}

#[test]
fn a_bad_condition_is_reported_in_one_line_that_says_what_to_do() {
    for (conditions, told) in [
        ("", "write one as"),
        ("  ", "write one as"),
        ("status>=", "a value is missing after `status>=`"),
        ("=5", "the name of a field is missing"),
        ("status>=500 :x", "the name of a field is missing before `:x`"),
        ("!status=5", "`status!=…`"),
        ("msg=\"open", "not closed"),
        ("level>loud", "trace, debug, info, warn, error or fatal"),
        ("path~(", "unclosed group"),
        ("path~\\w{1000}{1000}", "larger than"),
    ] {
        let BadCondition(message) = FieldFilter::parse(conditions).unwrap_err();
        assert!(message.contains(told), "{conditions:?}: {message:?}");
        assert!(!message.contains('\n'), "{conditions:?}: {message:?}");
    }
    assert!(FieldFilter::parse(&"a=1 ".repeat(17)).is_err());
    assert!(FieldFilter::parse(&"a".repeat(3000)).is_err());
    assert!(FieldFilter::parse("a= b!=").is_ok(), "an empty value can be compared with");
}

#[test]
fn the_text_of_a_field_is_as_people_read_it() {
    let text = |name: &str| text_of(REQUEST.as_bytes(), &Key::new(name));
    assert_eq!(text("status").as_deref(), Some("503"));
    assert_eq!(text("user.name").as_deref(), Some("Ada \"x\""));
    assert_eq!(text("tags").as_deref(), Some("a,slow"));
    assert_eq!(text("msg").as_deref(), Some("request failed"));
    assert_eq!(text("user"), None);
}

/// Some values, names and nesting.
fn json() -> impl Strategy<Value = Json> {
    let scalar = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::Bool),
        (-20i64..20).prop_map(|number| Json::Number(number.into())),
        (-4.0..4.0f64)
            .prop_filter_map("finite", |number| Number::from_f64(number).map(Json::Number)),
        "[a-c\"\\\\ =é]{0,4}".prop_map(Json::String),
    ];
    let value = scalar.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..3).prop_map(Json::Array),
            proptest::collection::btree_map("[ab]{1,2}", inner, 0..4)
                .prop_map(|map| Json::Object(map.into_iter().collect())),
        ]
    });
    proptest::collection::btree_map("[ab]{1,2}", value, 0..5)
        .prop_map(|map| Json::Object(map.into_iter().collect::<Map<_, _>>()))
}

/// The value at a dotted path, by another way.
fn at<'j>(json: &'j Json, path: &str) -> Option<&'j Json> {
    path.split('.').try_fold(json, |json, name| json.as_object()?.get(name))
}

fn as_text(json: &Json) -> Option<String> {
    match json {
        Json::Object(_) => None,
        Json::String(text) => Some(text.clone()),
        Json::Array(values) => {
            let values: Vec<String> = values.iter().filter_map(as_text).collect();
            Some(values.join(","))
        }
        other => Some(other.to_string()),
    }
}

proptest! {
    #[test]
    fn fields_are_those_of_the_object(json in json(), path in "[ab]{1,2}(\\.[ab]{1,2}){0,2}") {
        let line = json.to_string();
        let wanted = at(&json, &path).and_then(as_text);
        let number = |text: &Option<String>| text.as_ref().and_then(|text| text.parse::<f64>().ok());
        let found = text_of(line.as_bytes(), &Key::new(&path));
        // Numbers may be written in another way.
        prop_assert!(found == wanted || number(&found).is_some() && number(&found) == number(&wanted), "{found:?} {wanted:?}");
    }

    #[test]
    fn many_lines_at_once_are_as_each_by_itself(
        lines in proptest::collection::vec(prop_oneof![
            json().prop_map(|json| json.to_string()),
            "([ab]{1,2}=[a-c0-9]{0,3} ){0,4}",
            "[ab=\" {}]{0,12}",
        ], 0..12),
        conditions in "[ab]{1,2}(\\.[ab])?(=|!=|:|>)[a-c1]{1,2}( ![ab])?",
    ) {
        let filter = FieldFilter::parse(&conditions).unwrap();
        let text = lines.join("\n");
        prop_assert_eq!(found(&filter, &text), wanted(&filter, &text));
    }
}

/// The lines that fit, found in the whole text.
fn found(filter: &FieldFilter, text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    filter.for_each_line(text.as_bytes(), |at, line| {
        found.push((at, String::from_utf8(line.to_vec()).unwrap()));
        true
    });
    found
}

/// The same by reading all fields of each line.
fn wanted(filter: &FieldFilter, text: &str) -> Vec<(usize, String)> {
    let mut wanted = Vec::new();
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let content = line.strip_suffix('\n').unwrap_or(line);
        let values = values(content.as_bytes(), filter.keys());
        if filter.holds(&values) {
            wanted.push((at, content.to_owned()));
            assert!(filter.accepts(content.as_bytes()), "{content}");
        }
        at += line.len();
    }
    wanted
}

/// Lines as programs write them, with other names and other ways to write a value.
fn usual_line() -> impl Strategy<Value = String> {
    let name =
        "level|loglevel|log.level|levelno|severity|severityNumber|@l|msg|message|@m|took|x.took";
    let value = "\"(err|ERROR|warn|fail|fAiled|faiſed|fa\\\\u0069led|fa\\\\iled|\\\\\"fail|8[0-9]{0,2}ms|1\\.5s|50|0)\"|[0-9]{1,2}(\\.5|e1)?|true|null|\\[\"fail\",8\\]|\\{\"took\":9\\}";
    let escaped = "\"(l\\\\u0065vel|to\\\\u006Fk|ms\\\\u0067)\":\"(error|9ms|failed)\"";
    let field = format!("\"({name})\" ?: ?({value})|{escaped}");
    let text = |regex: String| proptest::string::string_regex(&regex).unwrap();
    prop_oneof![
        8 => text(format!("(12:00 )?\\{{({field}),({field})(,{field})?\\}}?")),
        4 => text(format!("text (({name})=({value}|err|fail,|8ms\\)) ?){{0,3}}")),
        1 => "[ -~]{0,20}",
    ]
}

proptest! {
    #![proptest_config(crate::testing::cases(1024))]
    #[test]
    fn no_line_that_fits_is_passed_over(
        lines in proptest::collection::vec(usual_line(), 0..12),
        conditions in "(level(=error|>=warn|=50|:err|!=error|)|severity<error)?( (msg:(fail|IS|failed)|msg=fail|msg~f\\.i|message!:fail))?( (took|x\\.took)(>8ms|<=0.1s|=8|>8|:ms|!=8| ))?( !x)?",
    ) {
        prop_assume!(!conditions.trim().is_empty());
        let filter = FieldFilter::parse(&conditions).unwrap();
        let text = lines.join("\n");
        prop_assert_eq!(found(&filter, &text), wanted(&filter, &text));
    }
}
