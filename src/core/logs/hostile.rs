//! Tests with hostile lines: no reader may panic, and no text that is shown may control the terminal.

use proptest::prelude::*;

use super::{fields, fingerprint, level, message, time};
use crate::domain::text::{clean, is_safe, strip_ansi};
use crate::domain::time::Stamp;

/// Reads a line in every way in which the sources read it. Returns the texts that can appear on the screen.
fn shown(bytes: &[u8]) -> Vec<String> {
    let whole = String::from_utf8_lossy(bytes);
    let body = strip_ansi(&whole);
    level::level(&body);
    level::continues(&body);
    level::is_exception(&body);
    level::is_frame(&body);
    time::find(&body, Stamp(1_767_366_245_000));
    let text = clean(&body).into_owned();
    let subject = message::subject(&text).into_owned();
    let template = fingerprint::template(&subject);
    let of_fields = fields::all(&text).into_iter().flat_map(|(path, value)| {
        let value: Vec<String> = value.split('\n').map(str::to_owned).collect();
        std::iter::once(path).chain(value)
    });
    [text.clone(), subject, template].into_iter().chain(of_fields).collect()
}

fn no_controls(bytes: &[u8]) {
    for text in shown(bytes) {
        let foul = text
            .chars()
            .find(|c| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'));
        assert_eq!(foul, None, "{:?}", text.chars().take(200).collect::<String>());
        assert!(is_safe(&text), "{:?}", text.chars().take(200).collect::<String>());
    }
}

#[test]
fn a_hostile_corpus() {
    let mega = |part: &[u8]| part.iter().copied().cycle().take(1 << 20).collect::<Vec<u8>>();
    let corpus: Vec<Vec<u8>> = vec![
        b"\0\0ERROR\0 nul".to_vec(),
        b"\x1b]52;c;cm0gLXJmIC8=\x07ERROR clipboard".to_vec(),
        b"\x1b]52;c;cm0gLXJmIC8=".to_vec(),
        b"\x1b]8;;http://evil\x1b\\link\x1b]8;;\x1b\\ \x1b[2J\x1b[?1049h\x1bc".to_vec(),
        b"\x1bP+q544e\x1b\\\x1b_x\x1b\\\x1b^x\x1b\\\x1bXx\x1b\\".to_vec(),
        "\u{9b}31mred\u{9d}0;title\u{9c} \u{90}x\u{9c}\u{85}".into(),
        "ERROR safe\u{202e}exe.\u{2066}x\u{2069}\u{200f}".into(),
        "pay\u{200b}ments\u{feff}\u{2060}\u{ad}".into(),
        b"\xff\xfe\x80\xc0\xaf\xed\xa0\x80\xf5 ERROR".to_vec(),
        r#"{"level":"error","msg":"a\u001b[2J\u0000\u009b1m\u202e\r\nb","k\u001b]0;x\u0007":{"\u202ex":["\u0007"]}}"#.into(),
        "level=error msg=\"a\\u001b[2J\\u0000b\" k=\"\\u202e\"".into(),
        "E0102 15:04:05.123456 1 a.go:1] \"a\\u001b[2J\" err=\"\\u0007\"".into(),
        mega(b"x"),
        mega(b"{"),
        mega(b"{\"a\":"),
        mega(b"[[\"\\"),
        mega(b"a=\"\\\""),
        mega(b"=,=;("),
        [b"a=1".to_vec(), mega(b",")].concat(),
        [b"a=1".to_vec(), mega(b"}")].concat(),
        [b"a=1".to_vec(), mega(b"})]")].concat(),
        mega(b",a"),
        mega(b"\x1b]0;"),
        mega(b"12:00:00 "),
        mega(b"<n>'\"`"),
        mega(b" ERROR no"),
        mega("e\u{301}\u{301}\u{200d}".as_bytes()),
        mega(b"\0"),
        // the value begins with a combining mark
        "\0{@=\u{591}".into(),
    ];
    for line in &corpus {
        no_controls(line);
    }
}

#[test]
fn every_script_stays_readable_in_messages_and_fields() {
    for text in [
        "ไม่พบไฟล์ที่ต้องการ",
        "फ़ाइल नहीं मिली",
        "الملف غير موجود",
        "می\u{200c}خواهم",
        "👩🏽\u{200d}🚀 launched ❤\u{fe0f}\u{200d}🔥",
        "cafe\u{301} closed",
        "日本語 и кириллица",
    ] {
        let plain = format!("\u{1b}[31mERROR\u{1b}[0m {text}");
        assert_eq!(shown(plain.as_bytes())[1..3], [text, text]);
        let json = serde_json::json!({ "level": "error", "msg": text }).to_string();
        assert_eq!(shown(json.as_bytes())[1..3], [text, text]);
        assert_eq!(fields::get(&json, "msg").as_deref(), Some(text));
        let escaped = format!("level=error msg=\"{text} \\\"x\\\"\"");
        assert_eq!(fields::get(&clean(&escaped), "msg").unwrap(), format!("{text} \"x\""));
    }
}

proptest! {
    #[test]
    fn nothing_shown_has_controls(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        no_controls(&bytes);
    }

    #[test]
    fn nothing_shown_has_controls_in_structured_lines(text in "[\\\\u001b9a\"{}:=,x\u{1b}\u{9b}\u{202e}\u{200d}\\[ ]{0,40}") {
        no_controls(format!("{{\"level\":\"error\",\"msg\":\"{text}").as_bytes());
        no_controls(format!("level=error msg=\"{text}").as_bytes());
        no_controls(format!("E0102 15:04:05.1 1 a.go:1] \"{text}").as_bytes());
    }
}
