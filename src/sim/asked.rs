//! The parameters of a request in Prometheus' and Loki's form: from the query, and from a posted form.

use axum::extract::rejection::FormRejection;
use axum::extract::{Form, Query};

/// Names and values of the query, in their order; a name can occur several times.
pub(crate) type Pairs = Query<Vec<(String, String)>>;
/// The same for a posted form. A body of another type counts as no form, which is not an error.
pub(crate) type Posted = Result<Form<Vec<(String, String)>>, FormRejection>;

/// All parameters, those of the query first. (The form of a GET is its query, which counts once.)
pub(crate) fn gather(query: Pairs, form: Posted) -> Vec<(String, String)> {
    let Query(mut all) = query;
    if let Ok(Form(more)) = form
        && more != all
    {
        all.extend(more);
    }
    all
}
