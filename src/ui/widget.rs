//! Small pieces of drawing that know nothing of clusters: text that fits, columns, trends, ASCII.

pub mod ascii;
pub mod columns;
pub mod text;
