//! What a line of a log costs from its text to the store, and a search through a full store. `cargo bench --bench logs`;
//! nothing here judges the figures.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::sync::Arc;

use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};
use pilothouse::source::logs::follow::MemoryLog;
use pilothouse::source::logs::store::Origin;
use pilothouse::source::logs::{LogFilter, LogInput, LogStore};
use pilothouse::ui::app::{LOG_LINES, LogView};
use pilothouse::ui::request::{LogLine, LogRequest, Ticket};
use pilothouse_core::domain::id::{ClusterId, Kind, Name, ObjectRef, Uid};
use pilothouse_core::domain::log::Level;
use pilothouse_core::domain::time::Stamp;
use pilothouse_core::logs::filter::{Filter, Subject};
use pilothouse_core::logs::level;

const LINES: usize = 100_000;
const PODS: usize = 50;
/// The size of the pieces in which a log arrives.
const PIECE: usize = 16 << 10;
const NOW: Stamp = Stamp(1_767_366_245_000);

fn main() {
    divan::main();
}

/// Lines of about 130 bytes in four formats; one in `every` is an error.
fn lines(every: usize) -> Vec<String> {
    (0..LINES)
        .map(|n| {
            let (word, letter) = if n % every == 0 { ("error", 'E') } else { ("info", 'I') };
            let (id, ms) = (n.wrapping_mul(2_654_435_761) % 100_000_000, n % 977);
            match n % 4 {
                0 => format!(
                    r#"{{"level":"{word}","ts":1767366245.{ms:03},"caller":"pay/client.go:{}","msg":"payment {id:08x} took {ms}ms","attempt":{}}}"#,
                    n % 400,
                    n % 5
                ),
                1 => format!(
                    "time=2026-01-02T15:04:05.{ms:03}Z level={word} msg=\"request {id} to 10.0.{}.{} done\" status=200 took={ms}ms path=/api/orders",
                    n % 256,
                    n % 251
                ),
                2 => format!(
                    "{letter}0102 15:04:05.{ms:03}456       1 reconciler.go:{}] \"Reconciled object\" pod=\"shop/checkout-{id:x}\" duration=\"{ms}ms\" try={}",
                    n % 700,
                    n % 9
                ),
                _ => format!(
                    "2026-01-02 15:04:05,{ms:03} {} [http-nio-8080-exec-{}] c.e.shop.OrderService - order {id} of user {} stored after {ms} ms in 3 parts",
                    word.to_uppercase(),
                    n % 40,
                    n % 9000
                ),
            }
        })
        .collect()
}

/// The logs of the pods, each as its kubelet sends it: 100,000 lines of one second, with the kubelet's times.
fn logs(lines: &[String]) -> Vec<Vec<u8>> {
    let mut logs = vec![Vec::new(); PODS];
    for (n, line) in lines.iter().enumerate() {
        let stamp = format!("2026-01-02T15:04:05.{:09}Z ", n * 10_000 % 1_000_000_000);
        let log = logs.get_mut(n % PODS).unwrap();
        log.extend_from_slice(stamp.as_bytes());
        log.extend_from_slice(line.as_bytes());
        log.push(b'\n');
    }
    logs
}

/// Reads the logs side by side into the store, as the source does with the bytes of its connections.
fn read(input: &LogInput, logs: &[Vec<u8>]) {
    let origin = Origin { workload: "shop/web".into(), version: "v1".into(), ..Origin::default() };
    let reader =
        |pod: usize| MemoryLog::new(input.clone(), ("shop", &format!("web-{pod}"), "app"), origin.clone());
    let mut readers: Vec<_> =
        logs.iter().enumerate().map(|(pod, log)| (reader(pod), log.chunks(PIECE))).collect();
    let mut left = true;
    while left {
        left = false;
        for (reader, pieces) in &mut readers {
            if let Some(piece) = pieces.next() {
                reader.feed(piece);
                left = true;
            }
        }
    }
    for (reader, _) in &mut readers {
        reader.finish();
    }
}

fn ingest(bencher: Bencher<'_, '_>, lines: &[String]) {
    let bytes: usize = lines.iter().map(String::len).sum();
    let logs = logs(lines);
    let input = Arc::new(LogStore::new(16 << 20)).input("logs", "pods");
    bencher
        .counter(ItemsCount::new(LINES))
        .counter(BytesCount::new(bytes))
        .bench_local(|| read(&input, &logs));
}

/// From the bytes to the ring: lines, times, levels, entries, fingerprints, groups. One error in so many lines.
#[divan::bench(args = [100, 10, 1])]
fn lines_to_store(bencher: Bencher<'_, '_>, every: usize) {
    ingest(bencher, &lines(every));
}

/// The same for errors of this number of templates.
#[divan::bench(args = [100, 3000])]
fn errors_to_store(bencher: Bencher<'_, '_>, templates: usize) {
    let words = |mut n: usize| {
        let mut word = String::new();
        while word.is_empty() || n > 0 {
            word.push(char::from(b'g' + (n % 18) as u8));
            n /= 18;
        }
        word
    };
    let lines = (0..LINES).map(|n| {
        let what = words(n % templates);
        format!(
            "2026-01-02 15:04:05,{:03} ERROR [http-nio-8080-exec-{}] c.e.shop.{what} - {what} of order {n} failed after {} ms in {what}",
            n % 977,
            n % 40,
            n % 977
        )
    });
    ingest(bencher, &lines.collect::<Vec<_>>());
}

#[divan::bench(args = [100, 1])]
fn levels(bencher: Bencher<'_, '_>, every: usize) {
    let lines = lines(every);
    bencher
        .counter(ItemsCount::new(LINES))
        .bench_local(|| lines.iter().filter(|line| level::level(line) == Some(Level::Error)).count());
}

/// Filters that no line passes, so that every line is searched.
const FILTERS: [&str; 6] = [
    "\"nothing has this\"",
    "\"Nothing has this\"",
    r"/stored after \d+ s/",
    "field.status>=500",
    "field.attempt>9",
    "field.nothing=x",
];

/// A search through a full store of 64 MiB.
#[divan::bench(args = FILTERS)]
fn search_a_store(bencher: Bencher<'_, '_>, filter: &str) {
    let store = Arc::new(LogStore::new(64 << 20));
    let input = store.input("logs", "pods");
    let logs = logs(&lines(100));
    (0..5).for_each(|_| read(&input, &logs));
    assert!(input.summary(NOW).evicted > 0, "the store is full");
    let filter = Filter::parse(filter).unwrap();
    bencher.bench_local(|| {
        store.lines_that(&LogFilter::default(), 1000, |line| {
            let subject =
                Subject { at: Some(line.at), level: line.level, text: line.text, ..Subject::default() };
            filter.passes(&subject, NOW)
        })
    });
}

/// Another filter for a full log on the screen.
#[divan::bench(args = FILTERS)]
fn search_the_screen(bencher: Bencher<'_, '_>, filter: &str) {
    let object = ObjectRef::new(ClusterId(0), Kind::Pod, &"shop".into(), &"web".into(), &Uid::default());
    let request = LogRequest { object, within: None, previous: false, follow: true, tail: 10, since: None };
    let mut view = LogView::new(String::new(), Ticket(1), request);
    let rows = lines(100).into_iter().take(LOG_LINES).enumerate().map(|(n, text)| LogLine {
        at: Some(Stamp(n as i64)),
        pod: Name::from(format!("web-{}", n % PODS)),
        text,
        ..LogLine::default()
    });
    view.add(rows.collect(), NOW);
    let filter = Filter::parse(filter).unwrap();
    bencher.bench_local(move || view.set_filter(filter.clone(), NOW));
}
