//! The lines of stack traces.

/// True if the line continues the entry before it: stack frames, causes, indented text.
pub fn continues(line: &str) -> bool {
    let text = line.trim_start();
    let indent = line.len() - text.len();
    if line.starts_with('\t') || line.starts_with("    ") {
        // some programs indent whole lines
        return !is_dated(text);
    }
    if indent > 0 {
        let first = text.split(' ').next().unwrap_or_default();
        return ["at ", "... ", "File \"", "--->", "--- End of ", "[cause]: ", "thrown in ", "from "]
            .iter()
            .any(|begin| text.starts_with(begin))
            // Rust's frames: `   0: core::panicking::panic`
            || first.strip_suffix(':').is_some_and(is_number);
    }
    let heading = [
        "Caused by:",
        "Suppressed:",
        "Stack trace:",
        "[stacktrace]",
        "[previous exception]",
        "PHP Stack trace:",
        "PHP   ",
        "stack backtrace:",
        "note: run with `RUST_BACKTRACE",
        "note: Some details are omitted",
        "[signal SIG",
        "--- End of ",
    ];
    let may_be_heading = text.starts_with(['C', 'S', '[', 'P', 's', 'n', '-']);
    (may_be_heading && heading.iter().any(|begin| text.starts_with(begin)))
        || (text.starts_with("goroutine ") && text.ends_with(':'))
        || text == "}"
        || is_php_frame(text)
        || is_ruby_frame(text)
}

/// True if the line is a frame of a stack trace, or names the cause of the frames that follow it.
pub fn is_frame(line: &str) -> bool {
    let text = line.trim_start();
    let begins = |words: &[&str]| words.iter().any(|begin| text.starts_with(begin));
    begins(&["Caused by: ", "Suppressed: "])
        || text.len() < line.len() && begins(&["at ", "... ", "File \"", "from "])
        || is_php_frame(text)
        || is_ruby_frame(text)
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// `2026-01-02…` or `2026/01/02…`.
fn is_dated(text: &str) -> bool {
    let (year, rest) = text.split_at_checked(4).unwrap_or(("", ""));
    is_number(year) && rest.starts_with(['-', '/']) && rest.as_bytes().get(1).is_some_and(u8::is_ascii_digit)
}

/// `#0 /var/www/a.php(7): f()`, `#1 {main}`, `#2 [internal function]: f()`.
fn is_php_frame(text: &str) -> bool {
    let frame = text.strip_prefix('#').and_then(|rest| rest.split_once(' '));
    frame.is_some_and(|(number, place)| is_number(number) && place.starts_with(['/', '{', '[']))
}

/// ``app/models/order.rb:7:in `save'``, as Rails writes the frames of a logged error.
fn is_ruby_frame(text: &str) -> bool {
    if !text.ends_with('\'') {
        return false;
    }
    let place = text.split_once(":in `").or_else(|| text.split_once(":in '"));
    place.is_some_and(|(place, name)| {
        !place.contains(' ')
            && place.rsplit_once(':').is_some_and(|(_, line)| is_number(line))
            && !name.is_empty()
    })
}

/// True if the line is an exception's class in a package, with its message: `java.lang.IllegalStateException: no`. Loggers
/// write it under the line that they log the exception with.
pub fn is_exception(line: &str) -> bool {
    let class = line.split(':').next().unwrap_or_default();
    class.contains('.')
        && class.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'$'))
        && ["Exception", "Error", "Throwable"].iter().any(|end| class.ends_with(end))
}
