//! Divides the height among panes that are one above the other, according to their content.

/// The lines that a pane needs, with its frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Need {
    /// The minimum height of the pane.
    pub least: u16,
    /// The height with every row and its whole sentence.
    pub rows: u16,
    /// The height with every row and all its text.
    pub all: u16,
}

/// Returns the heights, which add up to `total`. No pane gets more than it needs before the other panes have what
/// they need. If the height is not sufficient, the smallest needs are met first.
pub(super) fn share(total: u16, needs: &[Need]) -> Vec<u16> {
    let mut heights = vec![0; needs.len()];
    let mut left = total;
    for wish in [|n: &Need| n.least, |n: &Need| n.rows.max(n.least), |n: &Need| n.all.max(n.rows)] {
        while left > 0 {
            // the lowest pane that needs more gets one line
            let lowest = heights
                .iter_mut()
                .zip(needs)
                .filter(|(height, need)| **height < wish(need))
                .min_by_key(|(height, _)| **height);
            let Some((height, _)) = lowest else { break };
            *height += 1;
            left -= 1;
        }
    }
    // unused lines go to the last pane, so that the others end with their rows
    if let Some(last) = heights.last_mut() {
        *last += left;
    }
    heights
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn need(rows: u16, all: u16) -> Need {
        Need { least: 4, rows, all }
    }

    #[test]
    fn a_pane_with_few_rows_gives_its_lines_to_one_with_more() {
        assert_eq!(share(30, &[need(27, 27), need(7, 11)]), [23, 7]);
        assert_eq!(share(30, &[need(15, 15), need(4, 40)]), [15, 15]);
        assert_eq!(share(40, &[need(27, 27), need(7, 11)]), [27, 13], "the rest goes to the last");
        assert_eq!(share(30, &[need(60, 60), need(50, 90)]), [15, 15]);
        assert_eq!(share(5, &[need(60, 60), need(50, 90)]), [3, 2]);
        assert!(share(7, &[]).is_empty());
    }

    #[test]
    fn heights_always_add_up() {
        for total in 0..90 {
            for a in 0..30 {
                let needs = [need(a, a * 2), need(30 - a, 40), Need::default(), need(9, 9)];
                assert_eq!(share(total, &needs).iter().sum::<u16>(), total);
            }
        }
    }
}
