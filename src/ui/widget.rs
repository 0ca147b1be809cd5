//! Small pieces that know nothing of clusters: text that fits, columns, trends, ASCII, hyperlinks, the line that is
//! typed.

pub mod ascii;
pub mod bar;
pub mod columns;
pub mod history;
pub mod input;
pub mod link;
pub mod text;
