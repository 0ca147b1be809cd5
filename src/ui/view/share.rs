//! How panes that stand one above the other share their height: by what each has to show.

/// What a pane has to show, in lines with its frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Need {
    /// Less than this is no pane.
    pub least: u16,
    /// Every row with its whole sentence.
    pub rows: u16,
    /// Every row with all that there is to say of it.
    pub all: u16,
}

/// The heights, which add up to `total`. Nobody gets more than all it has to show before the others have that too; where
/// there is not enough, the smallest wishes are met first.
pub fn share(total: u16, needs: &[Need]) -> Vec<u16> {
    let mut heights = vec![0; needs.len()];
    let mut left = total;
    for wish in [|n: &Need| n.least, |n: &Need| n.rows.max(n.least), |n: &Need| n.all.max(n.rows)] {
        while left > 0 {
            // a line for the lowest of those that want one
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
    // what nobody needs goes to the last, so that the others end where their rows do
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
