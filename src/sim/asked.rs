//! The parameters of a request in Prometheus' and Loki's form: from the query, and from a posted form.

use axum::extract::rejection::FormRejection;
use axum::extract::{Form, Query};

/// Names and values of the query, in their order; a name may come more than once.
pub type Pairs = Query<Vec<(String, String)>>;
/// The same of a form. What is posted in another form than a form is no form, and no mistake either.
pub type Posted = Result<Form<Vec<(String, String)>>, FormRejection>;

/// All of them: those of the query first. (A GET's form is its query, which counts once.)
pub fn gather(query: Pairs, form: Posted) -> Vec<(String, String)> {
    let Query(mut all) = query;
    if let Ok(Form(more)) = form
        && more != all
    {
        all.extend(more);
    }
    all
}
