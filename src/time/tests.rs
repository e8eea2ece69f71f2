//! Stamps of many programs, and logs in which times are sought.

use std::time::{Duration, UNIX_EPOCH};

use proptest::prelude::*;

use super::*;
use crate::encoding::Newline;

/// 2026-11-28T14:02:07Z in milliseconds.
const T: i64 = 1_795_874_527_000;
const HOUR: i64 = 3_600_000;
/// The files are written an hour later, by a clock in Berlin: an hour ahead in winter.
const WRITTEN: i64 = T + HOUR;

fn zone(name: &str) -> Zone {
    name.parse().unwrap()
}

/// The times of the lines of a file that was written at this time.
fn times_at(log: &str, zone_name: &str, written: i64) -> Vec<Option<i64>> {
    let zone = zone(zone_name);
    let lines = || log.lines().map(str::as_bytes);
    let profile = Profile::of(lines(), &zone, written);
    let mut recognizer = Recognizer::new(profile, zone.clone(), written);
    let times: Vec<_> = lines().map(|line| recognizer.time_of(line)).collect();
    // What it remembers changes no answer.
    let fresh = lines().map(|line| Recognizer::new(profile, zone.clone(), written).time_of(line));
    assert_eq!(times, fresh.collect::<Vec<_>>(), "{log}");
    times
}

fn time_of(line: &str) -> Option<i64> {
    times_at(line, "Europe/Berlin", WRITTEN).first().copied().flatten()
}

#[test]
fn stamps_of_many_programs_are_read() {
    // By a clock in Berlin it is 15:02:07.
    let mut wrong = Vec::new();
    for (expected, line) in [
        // RFC 3339 and ISO 8601.
        (T, "2026-11-28T14:02:07Z hello"),
        (T + 123, "2026-11-28T14:02:07.123Z hello"),
        (T + 123, "2026-11-28T14:02:07.123456789Z  INFO app: hello"),
        (T, "2026-11-28T15:02:07+01:00 hello"),
        (T, "2026-11-28T15:02:07+0100 systemd short-iso"),
        (T, "2026-11-28T09:32:07-04:30 hello"),
        (T, "2026-11-28t14:02:07z hello"),
        (T, "2026-11-28 15:02:07 hello"),
        (T + 50, "2026-11-28 15:02:07,05 hello"),
        (T, "2026-11-28 14:02:07 UTC hello"),
        (T, "2026-11-28 14:02:07 +00:00 hello"),
        (T, "Sat Nov 28 2026 15:02:07 GMT+0100 (Central European Standard Time) hello"),
        (T, "2026-11-28 19:32:07 UTC+05:30 hello"),
        (T, "2026-11-28 14:02:07 UTC-1 is no offset"),
        (T, "2026-11-28 15:02:07 CET [4711] LOG:  database system is ready"),
        (T + 123, "2026-11-28 14:02:07.123 UTC [4711] postgres@db ERROR:  relation"),
        (T, "2026-11-28_14:02:07Z svlogd"),
        (T - 7000, "[2026-11-28 15:02] [PACMAN] upgraded linux"),
        (T, "[2026-11-28T15:02:07+0100] [ALPM] upgraded linux"),
        (T, "2026-11-28, 15:02:07 airflow"),
        (T + 123, "[2026-11-28, 14:02:07.123 UTC] {taskinstance.py:12} INFO - x"),
        (T, "20261128T140207Z compact"),
        (T + 123, "20261128T140207.123Z compact"),
        (T + 123, "20261128 15:02:07.123 glog"),
        (T, "2026/11/28 15:02:07 Go's log"),
        (T + 123, "2026/11/28 15:02:07.123456 main.go:12: Go with microseconds"),
        (T, "2026/11/28 15:02:07 [error] 12#12: *3 open() failed, client: 10.0.0.1"),
        (T, "2026.11.28 15:02:07 ClickHouse"),
        // Syslog.
        (T, "Nov 28 15:02:07 host sshd[12]: Accepted publickey"),
        (T, "<34>Nov 28 15:02:07 host su: 'su root' failed"),
        (T + 3, "<165>1 2026-11-28T14:02:07.003Z host app 12 ID47 - hello"),
        (T + 123, "*Nov 28 15:02:07.123: %SYS-5-CONFIG_I: Configured"),
        (T, "Nov 28 2026 15:02:07: %ASA-6-302013: Built"),
        (T, "Nov 28 15:02:07 lb haproxy[1]: 10.0.1.2:33317 [28/Nov/2026:15:02:08.655] http-in"),
        // Web servers.
        (T, r#"127.0.0.1 - frank [28/Nov/2026:14:02:07 +0000] "GET / HTTP/1.0" 200 23"#),
        (
            T,
            r#"2001:db8:85a3::8a2e:370:7334 - - [28/Nov/2026:15:02:07 +0100] "GET / HTTP/2" 200 1"#,
        ),
        (T, r#"www.example.org:443 10.0.0.1 - - [28/Nov/2026:15:02:07 +0100] "POST /a HTTP/1.1""#),
        (T, "[Sat Nov 28 15:02:07 2026] [error] [client 10.0.0.1] File does not exist"),
        (T + 123, "[Sat Nov 28 15:02:07.123456 2026] [core:error] [pid 12:tid 13] AH00126"),
        (T + 655, "10.0.1.2:33317 [28/Nov/2026:15:02:07.655] http-in static/srv1 10/0/30/69"),
        (T + 123, "1795874527.123    42 10.0.0.1 TCP_MISS/200 4711 GET http://a/ - DIRECT"),
        // Java.
        (T + 123, "2026-11-28 15:02:07,123 INFO  [main] org.example.App - started"),
        (T + 123, "2026-11-28 15:02:07.123  INFO 12 --- [main] o.s.b.App : Started"),
        (T + 123, "[2026-11-28 15:02:07,123] WARN [Broker id=1] (kafka.server)"),
        (T + 123, "28-Nov-2026 15:02:07.123 INFO [main] org.apache.catalina.startup.Catalina"),
        (T, "Nov 28, 2026 3:02:07 PM org.apache.catalina.core.StandardEngine start"),
        (T + 123, "INFO  [main] 2026-11-28 15:02:07,123 CassandraDaemon.java:1 - x"),
        (T, "26/11/28 15:02:07 INFO SparkContext: Running Spark"),
        (T + 123, "[2026-11-28T14:02:07.123+0000][info][gc] GC(1) Pause Young"),
        // Python, Ruby, Rust and others.
        (T + 123, "2026-11-28 15:02:07,123 - root - WARNING - x"),
        (T + 123, "WARNING:root:2026-11-28 15:02:07,123 x"),
        (T + 123, "I, [2026-11-28T15:02:07.123456 #12]  INFO -- : x"),
        (T, r#"Started GET "/" for 127.0.0.1 at 2026-11-28 15:02:07 +0100"#),
        (T, "[2026-11-28T14:02:07Z INFO  app] env_logger"),
        (T + 123, "\x1b[2m2026-11-28T14:02:07.123456Z\x1b[0m \x1b[32m INFO\x1b[0m app: x"),
        (T, "\x1b[90m[2026-11-28 15:02:07]\x1b[0m colours"),
        (T, "[2026-11-28 15:02:07] production.ERROR: Laravel"),
        (T, "[28-Nov-2026 15:02:07 Europe/Berlin] PHP Warning:  Undefined variable"),
        (T, "=INFO REPORT==== 28-Nov-2026::15:02:07 ==="),
        (T + 123, "1234:M 28 Nov 2026 15:02:07.123 * Ready to accept connections"),
        (T + 123, "[1234] 28 Nov 15:02:07.123 * The server is now ready"),
        (T + 123, "I1128 15:02:07.123456   12 server.go:123] klog"),
        (T + 123, "E20261128 15:02:07.123456 12 server.cc:123] glog"),
        (T + 123, "2026-11-28T14:02:07.123456Z 0 [Note] [MY-010116] [Server] mysqld starting"),
        (T, "261128 15:02:07 [Note] Plugin 'FEDERATED' is disabled."),
        (T, "# Time: 2026-11-28T14:02:07.000000Z"),
        (T, "Sat Nov 28 15:02:07 CET 2026 date"),
        (T, "Sat, 28 Nov 2026 14:02:07 +0000 RFC 2822"),
        (T, "Sat Nov 28 15:02:07 2026 : asctime"),
        (T, "type=SYSCALL msg=audit(1795874527.000:4711): arch=c000003e"),
        (T, "web-1  | 2026-11-28T14:02:07Z docker compose"),
        (T, "11/28/2026 3:02:07 PM Windows"),
        (T, "11/28/2026 15:02:07 month first"),
        (T, "28/11/2026 15:02:07 day first"),
        (T, "28.11.2026 15:02:07 day first"),
        (T, "28.11.26 15:02:07 day first"),
        (T + 123, "11/28/26 15:02:07:123 CET] 00000001 WebSphere"),
        // Since 1970.
        (T, "1795874527 s"),
        (T + 123, "1795874527.123456 strace -ttt"),
        (T + 123, "1795874527123 ms"),
        (T + 123, "1795874527123456 us"),
        (T + 123, "1795874527123456789 ns"),
        (T, "[1795874527] SERVICE ALERT: nagios"),
        // A time of day.
        (T, "15:02:07 hello"),
        (T + 123, "15:02:07.123 [main] INFO org.example.App - logback"),
        (T + 123, "[15:02:07,123] hello"),
        (T, "[15:02:07] [Server thread/INFO]: Done"),
        // Fields.
        (T + 120, r#"{"level":"error","ts":1795874527.12,"msg":"zap"}"#),
        (T + 123, r#"{"level":"info","ts":1.795874527123e+09,"msg":"zap"}"#),
        (T + 123, r#"{"level":30,"time":1795874527123,"pid":1,"msg":"pino"}"#),
        (T + 123, r#"{"@timestamp":"2026-11-28T14:02:07.123Z","message":"ECS"}"#),
        (T, r#"{ "msg" : "x", "timestamp" : "2026-11-28 15:02:07" }"#),
        (T, r#"{"req":{"time":5,"ts":"2020-01-01T00:00:00Z"},"time":"2026-11-28T14:02:07Z"}"#),
        (
            T,
            r#"{"msg":"\"time\":\"2020-01-01T00:00:00Z\"","tags":["time"],"time":"2026-11-28T14:02:07Z"}"#,
        ),
        (T + 123, r#"{"t":{"$date":"2026-11-28T14:02:07.123+00:00"},"s":"I","c":"NETWORK"}"#),
        (
            T,
            r#"{"log":"2020-01-01 \"x\"\n","stream":"stdout","time":"2026-11-28T14:02:07.000000001Z"}"#,
        ),
        (T, r#"{"ts":"1795874527","msg":"a number in quotes"}"#),
        (T + 123, r#"{"timeUnixNano":"1795874527123456789","body":"OpenTelemetry"}"#),
        (T, r#"time="2026-11-28T14:02:07Z" level=info msg="logrus""#),
        (T, r#"level=info ts=2026-11-28T14:02:07.000Z caller=main.go:12"#),
        (T + 123, "ts=1795874527.123 level=info"),
        (T, "logger=context t=2026-11-28T14:02:07Z level=info"),
        (T, r#"msg="ts=2020-01-01T00:00:00Z" time="2026-11-28 15:02:07""#),
        // Containers.
        (T + 123, "2026-11-28T14:02:07.123456789Z stdout F hello"),
        (T, "2026-11-28T15:02:07+01:00 stderr P hello"),
    ] {
        let late = time_of(line).map(|time| time - expected);
        if late != Some(0) {
            wrong.push((late, line));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn what_is_no_time_is_none() {
    let mut wrong = Vec::new();
    for line in [
        "",
        "hello",
        "2026-11-28",
        "2026-11-28 is a date",
        "2026-13-28 14:02:07",
        "2026-02-30 14:02:07",
        "2026-11-28 24:02:07",
        "2026-11-28 14:60:07",
        "2026-11-28 14:02:61",
        "2026-11-28T14:02:071",
        "12345678901234 rows",
        "1234567890123456789012 rows",
        "123456789 bytes",
        "9999999999 bytes",
        "3000000000 is in the far future",
        "1795874527x",
        "10.0.0.1 - - GET /",
        "1.2.3 14:02",
        "14:02:07:15",
        "14:02:07x",
        "25:02:07 hello",
        "0:00:00.045123456  1234 0x55d0c8 DEBUG GST_INIT gst.c:1: hello",
        "14:02 hello",
        "4711:02:07",
        "[    0.000000] Linux version",
        "[12345.678901] usb 1-1: new device",
        "[0.123s][info][gc] Using G1",
        "192.168.14.2:33317 connected",
        "E1128 is a code",
        "May the force be with you",
        "Mar 99 14:02:07 x",
        "Sat down",
        "v2026-11-28T14:02:07Z",
        r#"{"time":5}"#,
        r#"{"time":"now"}"#,
        r#"{"uptime":1795874527}"#,
        r#"{"req":{"time":"2026-11-28T14:02:07Z"}}"#,
        r#"{"time":"#,
        "{",
        "time=5ms",
        "elapsed_time=1795874527",
        "http://a/?time=2026-11-28T14:02:07Z",
        "{\"a\":\"\\",
    ] {
        wrong.extend(time_of(line).map(|time| (time, line)));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_line_of_another_form_has_no_time_of_its_own() {
    let log = "2026-11-28 15:02:07 ERROR failed\n\
        java.lang.IllegalStateException: expires 2027-01-01T00:00:00Z\n\
        1795874527 is a number\n\
        12:00:00 too\n\
        \tat org.example.App(App.java:12)\n\
        2026-11-28 15:02:08 INFO again";
    let expected = [Some(T), None, None, None, None, Some(T + 1000)];
    assert_eq!(times_at(log, "Europe/Berlin", WRITTEN), expected);
    // What comes before the stamps is no part of others.
    let log = "[2026-11-28 15:02:07] one\nx2026-11-28 15:02:08 two\nv2026-11-28T14:02:07Z";
    assert_eq!(times_at(log, "Europe/Berlin", WRITTEN), [Some(T), None, None]);
    // Numbers of bytes, most of which lie far from any time.
    let sizes = "1000000001 a.log\n17 b.log\n9000000000 c.log\n1800000000 d.log\n2026-11-28 15:02:07 x\n2026-11-28 15:02:07 x";
    assert_eq!(times_at(sizes, "Europe/Berlin", WRITTEN)[..4], [None; 4]);
}

#[test]
fn a_log_decides_whether_its_dates_have_the_day_first() {
    let of = |log: &str| {
        times_at(log, "UTC", T)
            .into_iter()
            .map(|time| time.map(|time| (T - time) / 86_400_000))
            .collect::<Vec<_>>()
    };
    assert_eq!(of("03/11/2026 14:02:07 a\n28/11/2026 14:02:07 b"), [Some(25), Some(0)]);
    assert_eq!(of("11/03/2026 14:02:07 a\n11/28/2026 14:02:07 b"), [Some(25), Some(0)]);
    // Both are possible, so what is closer to the time of the file counts.
    let written = T - 18 * 86_400_000;
    let at = |log: &str| times_at(log, "UTC", written)[0].map(|time| (time - written) / 86_400_000);
    assert_eq!(at("10/11/2026 14:02:07 a"), Some(0));
    assert_eq!(at("11/10/2026 14:02:07 a"), Some(0));
    assert_eq!(at("26/11/10 14:02:07 a"), Some(0));
}

#[test]
fn a_year_that_is_missing_is_the_last_possible_one() {
    let new_year = 1_798_761_600_000; // 2027-01-01T00:00:00Z
    let log = "Dec 31 23:59:59 host a\nJan  1 00:00:01 host b\nFeb 29 00:00:00 host c";
    let leap = 1_709_164_800_000; // 2024-02-29T00:00:00Z
    let expected = [Some(new_year - 1000), Some(new_year + 1000), Some(leap)];
    assert_eq!(times_at(log, "UTC", new_year + HOUR), expected);
    // The clock of the machine that writes is ahead.
    assert_eq!(times_at("Jan  1 00:00:01 host b", "UTC", new_year - HOUR), [Some(new_year + 1000)]);
}

#[test]
fn a_date_that_is_missing_is_the_last_possible_one() {
    let midnight = 1_795_910_400_000 - HOUR; // 2026-11-29T00:00:00 in Berlin
    let log = "23:59:59 a\n00:00:01 b";
    let expected = [Some(midnight - 1000), Some(midnight + 1000)];
    assert_eq!(times_at(log, "Europe/Berlin", midnight + 60_000), expected);
}

#[test]
fn clocks_that_are_put_forward_or_back_are_followed() {
    for (line, utc) in [
        ("2026-03-29 01:59:59 x", "2026-03-29T00:59:59Z"),
        // This hour is passed over, and has the time of the hour after it.
        ("2026-03-29 02:30:00 x", "2026-03-29T01:30:00Z"),
        ("2026-03-29 03:00:00 x", "2026-03-29T01:00:00Z"),
        // This one is there twice.
        ("2026-10-25 02:30:00 x", "2026-10-25T00:30:00Z"),
        ("2026-10-25 02:30:00 CET x", "2026-10-25T01:30:00Z"),
        ("2026-10-25 03:00:00 x", "2026-10-25T02:00:00Z"),
        ("2026-06-30 12:00:00 x", "2026-06-30T10:00:00Z"),
        // A leap second.
        ("2016-12-31 23:59:60Z x", "2017-01-01T00:00:00Z"),
    ] {
        let expected: jiff::Timestamp = utc.parse().unwrap();
        let all = "2026-01-01 00:00:00 x\n2026-07-01 00:00:00 x\n".to_owned() + line;
        let times = times_at(&all, "Europe/Berlin", WRITTEN);
        assert_eq!(times[2], Some(expected.as_millisecond()), "{line}");
    }
}

proptest! {
    #[test]
    fn times_are_those_of_the_date_library(
        second in 0i64..4_102_444_800,
        nanosecond in 0i32..1_000_000_000,
        name in prop::sample::select(vec!["UTC", "Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe", "Asia/Kolkata", "Africa/Casablanca", "-03:30"]),
    ) {
        let zone: Zone = name.parse().unwrap();
        let at = jiff::Timestamp::new(second, nanosecond).unwrap();
        let shown = at.to_zoned(zone.0.clone());
        let written = at.as_millisecond() + 1000;
        let dated = |form: &str| {
            let line = format!("{} x", shown.strftime(form));
            (times_at(&line, name, written)[0], line)
        };
        for form in ["%Y-%m-%dT%H:%M:%S%.3f%:z", "%Y-%m-%d %H:%M:%S,%3f%z", "h - - [%d/%b/%Y:%H:%M:%S %z]"] {
            let (time, line) = dated(form);
            let expected = if form.contains("3f") { at.as_millisecond() } else { second * 1000 };
            prop_assert_eq!(time, Some(expected), "{}", line);
        }
        // What the clock shows twice is the first of both.
        let expected = zone.0.to_timestamp(shown.datetime()).unwrap().as_second() * 1000;
        for form in ["%Y-%m-%d %H:%M:%S", "%Y/%m/%d %I:%M:%S %p", "%d-%b-%Y %H:%M:%S", "%a %b %e %H:%M:%S %Y", "%b %e %H:%M:%S"] {
            let (time, line) = dated(form);
            prop_assert_eq!(time, Some(expected), "{}", line);
        }
    }

}

proptest! {
    #![proptest_config(crate::testing::cases(48))]
    #[test]
    fn any_bytes_are_read_without_harm(lines in prop::collection::vec(prop::collection::vec(prop_oneof![
        Just(b"2026-11-28T14:02:07.123Z".to_vec()), Just(b"Nov 28 ".to_vec()), Just(b"{\"time\":\"".to_vec()),
        Just(b"1795874527".to_vec()), Just(b"time=\"".to_vec()), Just(b"\x1b[".to_vec()), Just(b"14:02:07".to_vec()), Just(b"Sat, ".to_vec()),
        prop::collection::vec(any::<u8>(), 0..6),
    ], 0..8), 0..6)) {
        let lines: Vec<Vec<u8>> = lines.iter().map(|parts| parts.concat()).collect();
        for line in &lines {
            for cut in 0..=line.len() {
                let profile = Profile::of(std::iter::once(&line[..cut]), &Zone::UTC, WRITTEN);
                Recognizer::new(profile, Zone::UTC, WRITTEN).time_of(&line[..cut]);
            }
        }
    }
}

/// A log as a file that was written at the end.
fn timed(
    log: &[u8],
    newline: Newline,
) -> TimedFile<impl Fn(u64, usize) -> std::io::Result<Vec<u8>>> {
    let read = move |from: u64, len: usize| {
        let from = log.len().min(from as usize);
        Ok(log[from..log.len().min(from + len)].to_vec())
    };
    let written = UNIX_EPOCH + Duration::from_millis(WRITTEN as u64);
    TimedFile::open(read, log.len() as u64, newline, written, &Zone::UTC).unwrap()
}

fn stamp(time: i64) -> String {
    let at = jiff::Timestamp::from_millisecond(time).unwrap();
    at.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

#[test]
fn the_first_line_not_before_a_time_is_found_in_a_log_out_of_order() {
    // 12 MiB in which lines are out of order by up to four minutes, some have wrong clocks, and
    // there are stretches without times.
    let mut log = String::new();
    let mut lines = Vec::new();
    let mut n: u64 = 1;
    let rest = "x".repeat(300);
    for nth in 0..30_000_i64 {
        n = n.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let jitter = (n >> 33) as i64 % 240_000;
        let time = T + nth * 1000 - jitter;
        lines.push((log.len() as u64, time));
        log += &format!("{} line {nth} {rest}\n", stamp(time));
        if nth == 15_000 {
            log += &"\tat a.stack.trace(of.many:lines)\n".repeat(90_000);
        }
        if nth % 100 == 99 {
            log += &format!("{} the clock is wrong\n", stamp(T - 1_000_000_000));
        }
        if nth % 7 == 0 {
            log += "a line without a time\n";
        }
    }
    let mut file = timed(log.as_bytes(), Newline::Byte);
    assert!(file.is_timed());
    for wanted in (0..30_000).step_by(499).chain([0, 14_999, 15_000, 15_001, 29_999]) {
        let time = T + wanted * 1000;
        let expected = lines.iter().find(|(_, said)| *said >= time);
        let expected = expected.map_or(log.len() as u64, |(offset, _)| *offset);
        assert_eq!(file.seek(time).unwrap(), expected, "{wanted}");
    }
    assert_eq!(file.seek(T - HOUR).unwrap(), 0);
    assert_eq!(file.seek(T + 100 * HOUR).unwrap(), log.len() as u64);
    let last = lines.iter().map(|(_, time)| *time).rev().take(500).max();
    assert_eq!(file.last().unwrap(), last);
}

#[test]
fn times_are_found_in_short_empty_and_untimed_logs_and_in_utf_16() {
    let log = format!(
        "header\n{} a\n{} b\n{} b\n{} c",
        stamp(T),
        stamp(T + 1),
        stamp(T + 1),
        stamp(T + 9)
    );
    let wide: Vec<u8> = log.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let marked = format!("\u{feff}{} a\n{} b\n", stamp(T), stamp(T + 1));
    let marked: Vec<u8> = marked.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let mut times = Vec::new();
    let each = |line: TimedLine<'_>| {
        times.push(line.time);
        std::ops::ControlFlow::Continue(())
    };
    timed(&marked, Newline::Utf16Le).lines(0, false, u64::MAX, each).unwrap();
    assert_eq!(times, [Some(T), Some(T + 1)]);
    for (bytes, newline, width) in
        [(log.as_bytes(), Newline::Byte, 1), (&wide, Newline::Utf16Le, 2)]
    {
        let mut file = timed(bytes, newline);
        let mut at = |time| file.seek(time).unwrap() / width;
        let line = |nth: usize| log.match_indices('\n').nth(nth).unwrap().0 as u64 + 1;
        let found = [T - 1, T, T + 1, T + 2, T + 9, T + 10].map(&mut at);
        assert_eq!(found, [0, line(0), line(1), line(3), line(3), log.len() as u64], "{newline:?}");
        assert_eq!((file.last().unwrap(), file.first().unwrap()), (Some(T + 9), Some(T)));
    }
    let mut empty = timed(b"", Newline::Byte);
    assert_eq!((empty.seek(T).unwrap(), empty.last().unwrap()), (0, None));
    let mut untimed = timed(b"no\ntimes\n", Newline::Byte);
    assert!(!untimed.is_timed());
    assert_eq!(untimed.seek(WRITTEN).unwrap(), 0);
    assert_eq!(untimed.seek(WRITTEN + 1).unwrap(), 9);
}

/// A log with a line of each time at its offset; all others have no time.
fn sparse(
    stamps: Vec<(u64, i64)>,
    end: u64,
    most: u64,
) -> TimedFile<impl Fn(u64, usize) -> std::io::Result<Vec<u8>>> {
    const LINE: u64 = 4096;
    let passed = std::cell::Cell::new(0);
    let read = move |from: u64, len: usize| {
        let to = end.min(from + len as u64);
        passed.set(passed.get() + to.saturating_sub(from));
        assert!(passed.get() < most, "more than {most} bytes were read");
        let mut bytes = vec![b'x'; to.saturating_sub(from) as usize];
        for at in (from.next_multiple_of(LINE)..=to).step_by(LINE as usize) {
            if at > from {
                bytes[(at - from) as usize - 1] = b'\n';
            }
        }
        let nth = stamps.partition_point(|(at, _)| *at < from);
        for (at, time) in stamps[nth..].iter().take_while(|(at, _)| *at + 24 <= to) {
            let at = (at - from) as usize;
            bytes[at..at + 24].copy_from_slice(stamp(*time).as_bytes());
        }
        Ok(bytes)
    };
    let written = UNIX_EPOCH + Duration::from_millis(WRITTEN as u64);
    TimedFile::open(read, end, Newline::Byte, written, &Zone::UTC).unwrap()
}

#[test]
fn a_long_stretch_without_times_is_passed_over() {
    const MIB: u64 = 1 << 20;
    let head = (0..100).map(|nth| (nth * 4096, T + nth as i64 * 1000));
    let tail = (0..100).map(|nth| (1024 * MIB + nth * 4096, T + HOUR + nth as i64 * 1000));
    let stamps: Vec<_> = head.chain(tail).collect();
    for (time, expected) in [
        (T + 50_000, 50 * 4096),
        (T + HOUR / 2, 1024 * MIB),
        (T + HOUR + 50_000, 1024 * MIB + 50 * 4096),
        (T + 2 * HOUR, 1025 * MIB),
    ] {
        let mut file = sparse(stamps.clone(), 1025 * MIB, 512 * MIB);
        assert_eq!(file.seek(time).unwrap(), expected, "{}", stamp(time));
    }
    let mut file = sparse(vec![(0, T)], 1025 * MIB, 512 * MIB);
    assert_eq!(file.seek(T + 1).unwrap(), 1025 * MIB);
    let mut file = sparse(stamps, 1025 * MIB, 768 * MIB);
    for nth in 0..200 {
        file.seek_near(T + HOUR / 2 + nth, 0).unwrap();
    }
    // A time now and then.
    let now_and_then: Vec<_> = (0..50).map(|nth| (nth * 3 * MIB, T + nth as i64 * HOUR)).collect();
    let mut file = sparse(now_and_then, 150 * MIB, 1024 * MIB);
    for nth in [1, 20, 33, 49] {
        assert_eq!(file.seek(T + nth * HOUR - 1).unwrap(), nth as u64 * 3 * MIB);
    }
}

#[test]
fn a_date_in_a_message_is_no_time_of_a_log_that_says_none() {
    let lines = "started\n".repeat(30);
    for message in ["app 1.2 built at 2026-01-05 10:00:00", "valid until 2027-03-01 00:00:00"] {
        let log = format!("{lines}{message}\n{lines}");
        assert!(!timed(log.as_bytes(), Newline::Byte).is_timed(), "{message}");
    }
    let clocks = "14:02:07 one\n  expires: 2027-01-01 00:00:00\n14:02:08 two";
    let times = times_at(clocks, "UTC", WRITTEN);
    assert_eq!(times, [Some(T), None, Some(T + 1000)]);
}

#[test]
fn the_last_day_of_times_of_day_is_found() {
    let mut log = String::new();
    let mut starts = Vec::new();
    let first = WRITTEN - 72 * HOUR;
    for nth in 0..=72 * 60 {
        starts.push(log.len() as u64);
        log += &format!("{} line {nth}\n", stamp(first + nth * 60_000).get(11..19).unwrap());
    }
    let mut file = timed(log.as_bytes(), Newline::Byte);
    for minutes in [1, 10, 60, 400, 1000, 1400] {
        let expected = starts[starts.len() - 1 - minutes];
        let time = WRITTEN - minutes as i64 * 60_000;
        assert_eq!(file.seek(time).unwrap(), expected, "{minutes} minutes ago");
    }
    assert_eq!(file.seek(WRITTEN - 30 * HOUR).unwrap(), 0);
}

#[test]
fn a_first_stamp_of_a_wrong_clock_does_no_harm() {
    let lines: String = (0..20_000).map(|nth| format!("{} x\n", stamp(T + nth * 1000))).collect();
    let log = format!("{} x\n{lines}", stamp(T + 100 * HOUR));
    let mut file = timed(log.as_bytes(), Newline::Byte);
    assert_eq!(file.seek(T + 10_000_000).unwrap(), 27 * 10_001);
    assert_eq!(file.seek(T - HOUR).unwrap(), 0);
}

#[test]
fn long_lines_and_lines_at_the_edges_of_reads_are_whole() {
    let mut log = String::new();
    let mut starts = Vec::new();
    for nth in 0..40 {
        starts.push(log.len() as u64);
        let len = if nth % 3 == 0 { 400_000 } else { 16 * 1024 - 26 + nth };
        log += &format!("{} {}\n", stamp(T + nth as i64), "x".repeat(len));
    }
    let mut file = timed(log.as_bytes(), Newline::Byte);
    let mut found = Vec::new();
    file.lines(0, false, u64::MAX, |line| {
        found.push((line.offset, line.time));
        std::ops::ControlFlow::Continue(())
    })
    .unwrap();
    let expected = starts.iter().enumerate().map(|(nth, at)| (*at, Some(T + nth as i64)));
    assert_eq!(found, expected.collect::<Vec<_>>());
    for (nth, at) in starts.iter().enumerate() {
        assert_eq!(file.seek(T + nth as i64).unwrap(), *at);
    }
}

#[test]
fn moments_are_read_and_others_refused() {
    let now = UNIX_EPOCH + Duration::from_millis(T as u64);
    let of = |text: &str| {
        text.parse::<Moment>().map(|moment| moment.resolve(now, &zone("Europe/Berlin")) - T)
    };
    for (text, expected) in [
        ("2026-11-28T14:02:07Z", 0),
        ("2026-11-28T14:02:07.5Z", 500),
        ("2026-11-28T15:02:07+01:00", 0),
        // A `+` that was not encoded.
        ("2026-11-28T15:02:07 01:00", 0),
        ("2026-11-28 14:02:07Z", 0),
        ("2026-11-28T15:02:07", 0),
        ("2026-11-28 15:02:07", 0),
        ("2026-11-28 15:02", -7000),
        ("2026-11-28", -(15 * HOUR + 127_000)),
        ("1795874527", 0),
        ("1795874527.25", 250),
        ("0", -T),
        ("10m", -600_000),
        ("2h30m", -9_000_000),
        ("1d", -86_400_000),
        ("90s", -90_000),
        ("1w1d1h1m1s", -694_861_000),
        ("0s", 0),
    ] {
        assert_eq!(of(text), Ok(expected), "{text}");
        let fixed = text.parse::<Moment>().unwrap().fixed(now).to_string();
        assert_eq!(of(&fixed), Ok(expected.max(-T)), "{text} as {fixed}");
    }
    for text in [
        "",
        "soon",
        "10",
        "m",
        "10x",
        "10m2h",
        "1m1m",
        "-10m",
        "+10m",
        "1.5h",
        " 1h",
        "1h ",
        "2026-11-28T14:02:07Zx",
        "2026-02-30",
        "2026-11-28T25:00:00Z",
        "14:02:07",
        "2026-11",
        "1e9",
        "1795874527123",
        "-5",
        "9999999999999d",
        "28/11/2026 14:02:07",
    ] {
        // A small number is a time in 1970.
        let is_number = text == "10";
        assert_eq!(of(text).is_ok(), is_number, "{text}: {:?}", of(text));
    }
}

#[test]
fn zones_are_read_and_said() {
    for (text, said) in
        [("UTC", "UTC"), ("Europe/Berlin", "Europe/Berlin"), ("+01:00", "+01"), ("-0330", "-03:30")]
    {
        assert_eq!(zone(text).to_string(), said);
    }
    assert!("local".parse::<Zone>().is_ok());
    for text in ["", "Mars/Phobos", "+99:00", "+01:00x", "CEST?"] {
        assert_eq!(text.parse::<Zone>(), Err(BadZone), "{text}");
    }
}
