use super::*;
use proptest::prelude::*;

fn near() -> Stamp {
    Stamp::parse("2026-01-02T16:00:00Z").unwrap()
}

#[test]
fn the_common_forms() {
    const SECOND: &str = "2026-01-02T15:04:05Z";
    const MILLI: &str = "2026-01-02T15:04:05.123Z";
    for (line, written, at) in [
        ("2026-01-02T15:04:05Z x", "2026-01-02T15:04:05Z", SECOND),
        ("2026-01-02T15:04:05.123456789Z x", "2026-01-02T15:04:05.123456789Z", MILLI),
        ("2026-01-02T17:04:05.123+02:00 x", "2026-01-02T17:04:05.123+02:00", MILLI),
        ("2026-01-02T17:04:05.123+0200 x", "2026-01-02T17:04:05.123+0200", MILLI),
        ("2026-01-02T10:04:05-05 x", "2026-01-02T10:04:05-05", SECOND),
        ("2026-01-02 15:04:05,123 ERROR x", "2026-01-02 15:04:05,123", MILLI),
        ("[2026-01-02 15:04:05,123: ERROR/Main] x", "2026-01-02 15:04:05,123", MILLI),
        ("[2026-01-02 15:04:05 +0000] [7] [INFO] x", "2026-01-02 15:04:05 +0000", SECOND),
        ("2026-01-02 15:04:05.123 UTC [42] LOG:  x", "2026-01-02 15:04:05.123 UTC", MILLI),
        ("2026/01/02 15:04:05 [error] 7#7: x", "2026/01/02 15:04:05", SECOND),
        ("2026-01-02 15:04:05.123 -0700 x", "2026-01-02 15:04:05.123 -0700", "2026-01-02T22:04:05.123Z"),
        ("2026-01-02 15:04:05 - 3 items", "2026-01-02 15:04:05", SECOND),
        ("2026-01-02 15:04:05.123 12345 INFO nova", "2026-01-02 15:04:05.123", MILLI),
        ("E0102 15:04:05.123456       1 file.go:12] x", "E0102 15:04:05.123456", MILLI),
        ("I20260102 15:04:05.123456     1 file.cc:12] x", "I20260102 15:04:05.123456", MILLI),
        ("Jan  2 15:04:05 host app[1]: x", "Jan  2 15:04:05", SECOND),
        ("<131>Jan  2 15:04:05 host app[1]: x", "Jan  2 15:04:05", SECOND),
        ("<11>1 2026-01-02T15:04:05Z host app", "2026-01-02T15:04:05Z", SECOND),
        (
            "10.0.0.1 - - [02/Jan/2026:15:04:05 +0000] \"GET / HTTP/1.1\"",
            "02/Jan/2026:15:04:05 +0000",
            SECOND,
        ),
        ("[Fri Jan 02 15:04:05.123456 2026] [core:error] x", "Jan 02 15:04:05.123456 2026", MILLI),
        ("[Fri Jan 02 15:04:05 2026] [error] x", "Jan 02 15:04:05 2026", SECOND),
        ("1:M 02 Jan 2026 15:04:05.123 # x", "02 Jan 2026 15:04:05.123", MILLI),
        ("02-Jan-2026 15:04:05.123 INFO [main] x", "02-Jan-2026 15:04:05.123", MILLI),
        ("Jan 02, 2026 3:04:05 PM com.x.Y z", "Jan 02, 2026 3:04:05 PM", SECOND),
        ("26/01/02 15:04:05 INFO executor: x", "26/01/02 15:04:05", SECOND),
        ("260102 150405 148 INFO dfs.DataNode$x: y", "260102 150405", SECOND),
        ("ERROR [main] 2026-01-02 15:04:05,123 x", "2026-01-02 15:04:05,123", MILLI),
        ("web-1  | 2026-01-02T15:04:05Z x", "2026-01-02T15:04:05Z", SECOND),
        ("checkout-7d9f8b6c5-x2x4z app 2026-01-02T15:04:05Z x", "2026-01-02T15:04:05Z", SECOND),
        ("haproxy[12]: 10.0.0.1:5 [02/Jan/2026:15:04:05.123] web", "02/Jan/2026:15:04:05.123", MILLI),
        ("[15:04:05 ERR] x", "15:04:05", SECOND),
        ("15:04:05.123 [main] ERROR x", "15:04:05.123", MILLI),
        ("3:04PM ERR x", "3:04PM", "2026-01-02T15:04:00Z"),
        ("E, [2026-01-02T15:04:05.123456 #1] ERROR -- : x", "2026-01-02T15:04:05.123456", MILLI),
        ("1767366245.123 x", "1767366245.123", MILLI),
        ("1767366245123 x", "1767366245123", MILLI),
        ("[1767366245] x", "1767366245", SECOND),
        (r#"{"level":"x","ts":1767366245.1234,"msg":"2020-01-01T00:00:00Z"}"#, "1767366245.1234", MILLI),
        (r#"{"ts":1.767366245123e9}"#, "1.767366245123e9", MILLI),
        (r#"{"time":1767366245123}"#, "1767366245123", MILLI),
        (r#"{"timestamp":1767366245123456}"#, "1767366245123456", MILLI),
        (r#"{"timestamp":"1767366245123456789"}"#, "1767366245123456789", MILLI),
        (r#"{"@timestamp":"2026-01-02T15:04:05.123Z"}"#, "2026-01-02T15:04:05.123Z", MILLI),
        (r#"{"Timestamp":"2026-01-02 15:04:05,123"}"#, "2026-01-02 15:04:05,123", MILLI),
        (
            r#"{"t":{"$date":"2026-01-02T15:04:05.123+00:00"},"s":"I"}"#,
            "2026-01-02T15:04:05.123+00:00",
            MILLI,
        ),
        ("ts=2026-01-02T15:04:05Z level=info", "2026-01-02T15:04:05Z", SECOND),
        ("level=info time=\"2026-01-02T15:04:05Z\" x=1", "2026-01-02T15:04:05Z", SECOND),
        ("ts=1767366245.123 level=info", "1767366245.123", MILLI),
        ("2026-01-02T15:04:05Z\tinfo\tx", "2026-01-02T15:04:05Z", SECOND),
    ] {
        let found = find(line, near()).unwrap_or_else(|| panic!("{line}"));
        assert_eq!((&line[found.range], found.at.to_string().as_str()), (written, at), "{line}");
    }
}

#[test]
fn a_missing_year_or_day_is_the_nearest() {
    let at = |line: &str, near: &str| find(line, Stamp::parse(near).unwrap()).unwrap().at.to_string();
    assert_eq!(at("Dec 31 23:59:59 host x", "2026-01-01T00:00:10Z"), "2025-12-31T23:59:59Z");
    assert_eq!(at("Jan  1 00:00:01 host x", "2025-12-31T23:59:59Z"), "2026-01-01T00:00:01Z");
    assert_eq!(at("E1231 23:59:59.0 1 a.go:1] x", "2026-01-01T00:00:10Z"), "2025-12-31T23:59:59Z");
    assert_eq!(at("Feb 29 12:00:00 host x", "2028-03-01T00:00:10Z"), "2028-02-29T12:00:00Z");
    assert_eq!(at("23:59:59 x", "2026-01-01T00:00:10Z"), "2025-12-31T23:59:59Z");
}

#[test]
fn lines_without_a_time() {
    for line in [
        "",
        "hello",
        "certificate expires at 2027-01-01T00:00:00Z",
        "took 00:00:12 to start the server",
        "scheduled run for 2026-01-02 15:04:05",
        "the next backup of the database is due 2026-01-02 15:04:05",
        "2026-01-02 is a holiday",
        "25:00:00 x",
        "10.0.0.1:80 x",
        "12345 x",
        "1.2.3 x",
        r#"{"msg":"2026-01-02T15:04:05Z"}"#,
        r#"{"time":"12ms","ts":7}"#,
        "2026-01-02T15:04:05Zulu x",
    ] {
        assert_eq!(find(line, near()), None, "{line}");
    }
}

proptest! {
    #[test]
    fn never_panics(line in any::<String>(), near in any::<i64>()) {
        find(&line, Stamp(near));
    }

    #[test]
    fn never_panics_on_times(line in "[0-9:./T \\[\\]+,JanPMZ-]{0,40}", near in any::<i64>()) {
        if let Some(found) = find(&line, Stamp(near)) {
            prop_assert!(line.get(found.range).is_some());
        }
    }

    #[test]
    fn equals_chrono(secs in 0i64..4_000_000_000, ms in 0i64..1000) {
        let at = Stamp(secs * 1000 + ms);
        for format in ["%Y-%m-%dT%H:%M:%S%.3fZ", "%Y/%m/%d %H:%M:%S,%3f", "%d/%b/%Y:%H:%M:%S%.3f +0000",
            "%b %e %H:%M:%S%.3f %Y", "%d %b %Y %H:%M:%S%.3f", "%Y-%m-%d %I:%M:%S%.3f %p"] {
            let line = format!("{} ERROR x", at.to_chrono().unwrap().format(format));
            prop_assert_eq!(find(&line, near()).map(|found| found.at), Some(at), "{}", line);
        }
    }
}
