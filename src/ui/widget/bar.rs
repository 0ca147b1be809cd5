//! Drawings of numbers in a line of text: a share with a mark at the expected one, and a trend with gaps.

/// The number of cells that a share is drawn with, before it is fitted to its column by [`fit`].
const CELLS: usize = 40;

const FILLED: char = '█';
const FREE: char = '░';
const MARK: char = '│';
/// The share is larger than the bar.
const BEYOND: char = '▶';

/// Draws an observed share as a bar, with a mark at the expected one. `full` is the share of a full bar. Returns an
/// empty text if neither share is known.
pub fn share(observed: Option<f64>, expected: Option<f64>, full: f64) -> String {
    if (observed.is_none() && expected.is_none()) || full <= 0.0 {
        return String::new();
    }
    // the cast saturates, and turns NaN into 0
    let cells = |share: f64| ((share / full * CELLS as f64).round().max(0.0) as usize).min(CELLS);
    let filled = observed.map_or(0, cells);
    let mut bar: Vec<char> = (0..CELLS).map(|at| if at < filled { FILLED } else { FREE }).collect();
    if observed.is_some_and(|share| share > full * 1.01)
        && let Some(last) = bar.last_mut()
    {
        *last = BEYOND;
    }
    if let Some(mark) = expected.and_then(|share| bar.get_mut(cells(share).min(CELLS - 1))) {
        *mark = MARK;
    }
    bar.into_iter().collect()
}

/// Draws a bar in fewer cells. The mark keeps its place, and a little is not nothing.
pub fn fit(bar: &str, cells: usize) -> String {
    let whole: Vec<char> = bar.chars().collect();
    if whole.len() <= cells {
        return bar.to_owned();
    }
    let part = |at: usize| (at * cells / whole.len().max(1)).min(cells.saturating_sub(1));
    let filled = whole.iter().rposition(|c| matches!(*c, FILLED | BEYOND)).map_or(0, |last| last + 1);
    let filled = (filled * cells + whole.len() / 2) / whole.len().max(1);
    let some = usize::from(whole.first() == Some(&FILLED));
    let mut fitted: Vec<char> =
        (0..cells).map(|at| if at < filled.max(some) { FILLED } else { FREE }).collect();
    if whole.last() == Some(&BEYOND)
        && let Some(last) = fitted.last_mut()
    {
        *last = BEYOND;
    }
    if let Some(mark) = whole.iter().position(|c| *c == MARK).and_then(|mark| fitted.get_mut(part(mark))) {
        *mark = MARK;
    }
    fitted.into_iter().collect()
}

/// A trend as bars of eight heights, the newest on the right. A number that is not known is a blank. `most` is the
/// number of a full bar if none is larger, so that small changes of small numbers do not look like large ones.
pub fn trend(numbers: impl Iterator<Item = Option<f64>>, most: f64) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let numbers: Vec<Option<f64>> = numbers.collect();
    if numbers.iter().all(Option::is_none) {
        return String::new();
    }
    let most = numbers.iter().flatten().copied().fold(most, f64::max);
    let bar = |number: f64| {
        let height = if most > 0.0 { (number / most * 7.0).round() as usize } else { 0 };
        BARS.get(height).copied().unwrap_or('█')
    };
    numbers.into_iter().map(|number| number.map_or(' ', bar)).collect()
}

/// The newest part of a trend.
pub fn newest(trend: &str, cells: usize) -> String {
    let older = trend.chars().count().saturating_sub(cells);
    trend.chars().skip(older).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_compared_with_the_expected_one_at_any_width() {
        let bar = |observed, expected, cells| fit(&share(observed, expected, 0.4), cells);
        assert_eq!(bar(Some(0.3), Some(0.2), 12), "██████│██░░░");
        assert_eq!(bar(Some(0.1), Some(0.2), 12), "███░░░│░░░░░");
        assert_eq!(bar(Some(0.2), Some(0.2), 12), "██████│░░░░░", "as expected, it ends at the mark");
        assert_eq!(bar(Some(0.9), Some(0.2), 8), "████│██▶", "more than the bar has room for");
        assert_eq!(bar(Some(0.001), Some(0.2), 8), "░░░░│░░░");
        assert_eq!(bar(Some(0.006), Some(0.2), 8), "█░░░│░░░", "a little is not nothing");
        assert_eq!(bar(None, Some(0.2), 8), "░░░░│░░░");
        assert_eq!(bar(Some(0.2), None, 8), "████░░░░");
        assert_eq!(bar(Some(0.1), Some(1.0), 8), "██░░░░░│");
        assert_eq!(bar(None, None, 8), "");
        for cells in 0..60 {
            let bar = bar(Some(0.3), Some(0.1), cells);
            assert_eq!(bar.chars().count(), cells.min(CELLS));
            assert!(cells == 0 || bar.contains(MARK), "{cells} {bar}");
        }
    }

    #[test]
    fn nothing_breaks_a_share() {
        for number in [f64::NAN, f64::INFINITY, -1.0, 1e300, 0.0] {
            for full in [f64::NAN, 0.0, -1.0, 1.0] {
                let bar = share(Some(number), Some(number), full);
                assert!(fit(&bar, 7).chars().count() <= 7);
            }
        }
    }

    #[test]
    fn a_trend_has_gaps_and_its_newest_part_is_what_is_seen() {
        let numbers = [None, Some(0.0), Some(1.0), None, Some(7.0)];
        assert_eq!(trend(numbers.into_iter(), 0.0), " ▁▂ █");
        assert_eq!(trend(numbers.into_iter(), 70.0), " ▁▁ ▂", "little is drawn as little");
        assert_eq!(trend([None, None].into_iter(), 1.0), "");
        assert_eq!(trend([Some(0.0)].into_iter(), 0.0), "▁");
        assert_eq!(trend([Some(f64::NAN)].into_iter(), 1.0), "▁");
        assert_eq!(newest("▁▂▃▄", 2), "▃▄");
        assert_eq!(newest("▁", 2), "▁");
    }
}
