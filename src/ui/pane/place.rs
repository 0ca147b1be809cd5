//! Where a pane is placed, what Enter does in it, and what the text about its rows contains.

/// Where a pane is placed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The box at the top of the first screen.
    Top,
    /// A box below the top one, in the table's order.
    First,
    /// A screen of its own. Esc returns to the first screen.
    Screen,
    /// A screen of its own that opens over any other. Esc returns to that screen.
    Over,
    /// A screen that opens from a row of another pane.
    Below,
}

/// What Enter does with the selected row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Enter {
    /// Opens the text about the row.
    Text,
    /// Opens the text about the row. A row that stands for several causes lists them instead.
    Cause,
    /// Lists the pods of the row's object.
    Pods,
    /// Lists the backends of the Service.
    Backends,
    /// Shows the object as YAML, as the API server returns it.
    Yaml,
    /// Shows only this namespace.
    Namespace,
    /// Lists the backends that the row groups.
    Slice,
    /// Brings the cluster to the front, or opens it.
    Cluster,
    /// Brings the cluster of the row to the front, and shows the Service there.
    Elsewhere,
    /// Opens the text about the alert, or lists the alerts that the row groups.
    Alerts,
}

/// What the text about a row contains. The same text is shown below a pane that fills the screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reads {
    /// The pane has no text about its rows.
    Nothing,
    /// The text shows what is known about the row's object.
    Object,
    /// The text shows the evidence of a cause.
    Cause,
    /// The text shows the lines of an error group.
    ErrorGroup,
    /// The text shows the steps of an action.
    Action,
    /// The text shows an alert.
    Alert,
}
