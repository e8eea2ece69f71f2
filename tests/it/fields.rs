//! Conditions on the fields of structured lines, and the most frequent values of a field.

use serde_json::{Value, json};

use crate::clients::get;
use crate::servers::TestServer;

const LOG: &str = "starting up\n\
    {\"level\":30,\"msg\":\"request\",\"status\":200,\"path\":\"/api/a\",\"user\":{\"id\":7}}\n\
    time=14:02:07 level=error msg=\"request failed\" status=503 path=/api/b user.id=7\n\
    {\"level\":50,\"msg\":\"request failed\",\"status\":502,\"path\":\"/web\",\"user\":{\"id\":8}}\n\
    \x1b[32mstatus=500\x1b[0m path=/api/c user.id=7\n\
    done\n";

/// The texts of the rows of an answer.
fn texts(answer: &Value) -> Vec<&str> {
    let rows = answer["rows"].as_array().unwrap_or_else(|| panic!("{answer}"));
    rows.iter().map(|row| row[1].as_str().unwrap()).collect()
}

/// The lines of an answer, each of which is JSON.
async fn lines(server: &TestServer, target: &str) -> Vec<Value> {
    let answer = get(server.address, target, &[]).await;
    assert_eq!(answer.status, 200, "{target}: {}", answer.text());
    answer.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn rows_are_filtered_found_and_downloaded_by_their_fields() {
    let server = TestServer::start().await;
    let log = server.log("a.log", LOG);
    let all: Vec<&str> = LOG.lines().collect();
    let failed = "where=status%3E%3D500+path%3A%2Fapi+user.id%3D7";
    let [answer] =
        &lines(&server, &format!("/_/rows{log}?filter=1&format=text&{failed}")).await[..]
    else {
        panic!("one answer")
    };
    assert_eq!(texts(answer), [all[2], "status=500 path=/api/c user.id=7"]);

    let found = lines(&server, &format!("/_/find{log}?{failed}")).await;
    let offset = |line: usize| LOG.find(all[line]).unwrap();
    assert_eq!(found[0]["rows"], json!([[offset(2), 1], [offset(4), 1]]));
    assert_eq!(found.last().unwrap()["complete"], true);

    let text = |query: &str| format!("/_/text{log}?filter=1&plain=1&{query}");
    let downloaded = get(server.address, &text("where=level%3E%3Derror"), &[]).await.text();
    assert_eq!(downloaded, format!("{}\n{}\n", all[2], all[3]));
    let both = get(server.address, &text("where=status&q=%2Fapi&invert=1"), &[]).await.text();
    assert_eq!(both, format!("{}\n", all[3]), "those with a status, without the text");

    for (query, told) in [("where=", "write one as"), ("where=status%3E", "a value is missing")] {
        let answer = get(server.address, &format!("/_/find{log}?{query}"), &[]).await;
        assert_eq!(answer.status, 400, "{query}");
        assert!(answer.text().contains(told), "{query}: {}", answer.text());
    }
}

#[tokio::test]
async fn the_values_of_a_field_are_counted() {
    let server = TestServer::start().await;
    let log = server.log("a.log", LOG.repeat(1000));
    let counted = |query: &str| format!("/_/fields{log}?{query}");
    let answers = lines(&server, &counted("field=status")).await;
    let last = answers.last().unwrap();
    let values = json!([["200", 1000], ["500", 1000], ["502", 1000], ["503", 1000]]);
    assert_eq!(last["values"], values, "{last}");
    assert_eq!((&last["rows"], &last["with_field"]), (&json!(6000), &json!(4000)));
    assert_eq!((&last["done"], &last["complete"]), (&json!(true), &json!(true)));
    assert_eq!(last["distinct"], 4);
    assert_eq!(last["scanned"], (LOG.len() * 1000) as u64);

    let filtered = counted("field=user.id&top=1&where=status%3E%3D500");
    let last = lines(&server, &filtered).await.pop().unwrap();
    assert_eq!(last["values"], json!([["7", 2000]]));
    assert_eq!((&last["rows"], &last["distinct"]), (&json!(3000), &json!(2)));

    let last = lines(&server, &counted("field=level&q=failed")).await.pop().unwrap();
    assert_eq!(last["values"], json!([["error", 2000]]), "levels are one scale");

    let answer = get(server.address, &counted("top=5"), &[]).await;
    assert_eq!(answer.status, 400);
    assert!(answer.text().contains("`field` is missing"), "{}", answer.text());
}

#[tokio::test]
async fn the_values_of_a_field_are_counted_over_the_old_files() {
    let server = TestServer::start().await;
    let hour = |hour: u32, lines: &str| -> String {
        let stamp = |minute: usize| format!("2026-11-28T{hour:02}:{minute:02}:00Z ");
        lines.split(' ').enumerate().map(|(nth, line)| stamp(nth) + line + "\n").collect()
    };
    let old = "a.log.2.gz";
    let content = hour(8, "status=200 status=503 status=503 path=/a");
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut gzip, content.as_bytes()).unwrap();
    let log = server.log("a.log", hour(10, "status=200 status=404"));
    std::fs::write(log.replace("a.log", old), gzip.finish().unwrap()).unwrap();
    server.log("a.log.1", hour(9, "status=503 status=200 status=200"));
    let at = |time: &str| format!("2026-11-28T{time}:00Z");
    for (query, rows, values) in [
        ("history=1", 9, json!([["200", 4], ["503", 3], ["404", 1]])),
        ("", 2, json!([["200", 1], ["404", 1]])),
        ("history=1&where=status%3E%3D500", 3, json!([["503", 3]])),
        (&format!("history=1&since={}&until={}", at("08:01"), at("09:01")), 4, json!([["503", 3]])),
        (&format!("history=1&since={}", at("09:02")), 3, json!([["200", 2], ["404", 1]])),
        (&format!("history=1&until={}", at("08:01")), 1, json!([["200", 1]])),
        (&format!("history=1&since={}", at("11:00")), 0, json!([])),
    ] {
        let target = format!("/_/fields{log}?field=status&{query}");
        let answers = lines(&server, &target).await;
        let (last, before) = answers.split_last().unwrap();
        assert_eq!((&last["values"], &last["rows"]), (&values, &json!(rows)), "{target}: {last}");
        assert_eq!((&last["done"], &last["complete"]), (&json!(true), &json!(true)), "{target}");
        assert!(before.iter().all(|line| line["done"] == false), "{target}: {answers:?}");
    }
    let answer = get(server.address, &format!("/_/fields{log}?history=1"), &[]).await;
    assert_eq!(answer.status, 400);
}
