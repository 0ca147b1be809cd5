//! The scenarios: what is wrong in each, and what the user does about it.

use std::sync::Arc;

use pilothouse_core::domain::cause::Remediation;
use pilothouse_core::domain::id::ObjectRef;
use pilothouse_core::domain::plan::Act;
use pilothouse_core::facts::world::{Cause, Cluster, NodeRow};

/// A rule and the main object of its finding: `("service-errors", "shop/checkout")`; `*` at the end stands for any text.
pub type Line = (&'static str, &'static str);

/// One scenario, and what the user does in it.
pub struct Story {
    pub scenario: &'static str,
    /// The findings that are correct in this scenario. NOW must show no other one.
    pub truth: &'static [Line],
    /// Additional correct findings if nobody does anything, or under another seed.
    pub unmended: &'static [Line],
    pub fixes: &'static [Fix],
    /// The findings that stay until the end.
    pub stays: &'static [Line],
    /// Maximum number of seconds from the last fix, or from the opening, until it is quiet.
    pub quiet: u64,
    /// How long it runs after that.
    pub lasts: u64,
    /// The events are drawn at random: the file has the lines that must appear, and others may appear too.
    pub is_drawn: bool,
}

/// The fix of a finding: at this many seconds, or later as soon as the finding is there.
pub struct Fix {
    pub at: u64,
    pub of: Line,
    pub with: With,
}

pub enum With {
    /// The action that the line offers.
    Offered,
    /// The machines of all its nodes are off.
    AllOff,
    /// Uncordons the cordoned nodes.
    Uncordon,
}

const fn fix(at: u64, of: Line) -> Fix {
    Fix { at, of, with: With::Offered }
}

pub static STORIES: [Story; 11] = [
    Story {
        scenario: "incident",
        truth: &[
            ("node-not-ready", "*"),
            ("service-errors", "shop/checkout"),
            ("errors-since-rollout", "shop/checkout"),
            ("service-errors", "shop/storefront"),
            ("service-errors", "shop/catalog"),
            ("hpa-at-limit", "shop/cart"),
            ("out-of-rotation", "shop/catalog*"),
        ],
        unmended: &[],
        fixes: &[
            fix(20, ("service-errors", "shop/checkout")),
            fix(30, ("node-not-ready", "*")),
            fix(40, ("hpa-at-limit", "shop/cart")),
            fix(60, ("service-errors", "shop/catalog")),
        ],
        stays: &[("node-not-ready", "*"), ("out-of-rotation", "shop/catalog*")],
        quiet: 80,
        lasts: 150,
        is_drawn: false,
    },
    Story {
        scenario: "node-down",
        truth: &[("node-not-ready", "*")],
        unmended: &[],
        fixes: &[fix(20, ("node-not-ready", "*"))],
        stays: &[("node-not-ready", "*")],
        quiet: 5,
        lasts: 120,
        is_drawn: false,
    },
    Story {
        scenario: "zone-outage",
        truth: &[("node-not-ready", "*"), ("service-errors", "shop/checkout"), ("unschedulable", "data/*")],
        unmended: &[
            ("no-ready-endpoints", "kube-system/metrics-server"),
            // which Services fail depends on the pods in the zone; `public` is the proxy in front of ingress
            ("service-errors", "platform/ingress"),
            ("service-errors", "public"),
            ("service-errors", "shop/storefront"),
        ],
        fixes: &[Fix { at: 60, of: ("node-not-ready", "*"), with: With::AllOff }],
        stays: &[("node-not-ready", "*"), ("unschedulable", "data/*")],
        quiet: 100,
        lasts: 180,
        is_drawn: false,
    },
    Story {
        scenario: "bad-backend",
        truth: &[("service-errors", "shop/catalog"), ("out-of-rotation", "shop/catalog*")],
        unmended: &[],
        fixes: &[fix(20, ("service-errors", "shop/catalog"))],
        stays: &[("out-of-rotation", "shop/catalog*")],
        quiet: 80,
        lasts: 150,
        is_drawn: false,
    },
    Story {
        scenario: "traffic-skew",
        truth: &[("traffic-uneven", "shop/images"), ("out-of-rotation", "shop/images*")],
        unmended: &[],
        // its two pods one after the other
        fixes: &[fix(20, ("traffic-uneven", "shop/images")), fix(60, ("traffic-uneven", "shop/images"))],
        stays: &[("out-of-rotation", "shop/images*")],
        quiet: 80,
        lasts: 180,
        is_drawn: false,
    },
    // nobody does anything: a rollback by weight is the user's decision
    Story {
        scenario: "bad-canary",
        truth: &[("canary-worse", "shop/pricing")],
        unmended: &[],
        fixes: &[],
        stays: &[("canary-worse", "shop/pricing")],
        quiet: 5,
        lasts: 120,
        is_drawn: false,
    },
    Story {
        scenario: "hot-hpa",
        truth: &[
            ("hpa-at-limit", "shop/cart"),
            ("hpa-at-limit", "shop/checkout"),
            ("hpa-at-limit", "shop/storefront"),
            ("hpa-at-limit", "shop/search"),
            ("service-slow", "shop/checkout"),
            ("service-slow", "shop/storefront"),
        ],
        unmended: &[
            ("service-errors", "platform/ingress"),
            ("service-errors", "shop/cart"),
            ("service-errors", "shop/checkout"),
            ("service-errors", "shop/storefront"),
            ("service-slow", "platform/ingress"),
            ("service-slow", "shop/cart"),
        ],
        fixes: &[fix(20, ("hpa-at-limit", "shop/cart")), fix(120, ("hpa-at-limit", "shop/checkout"))],
        stays: &[],
        // for a while, the load is more than storefront's maximum number of pods can serve
        quiet: 180,
        lasts: 220,
        is_drawn: false,
    },
    Story {
        scenario: "error-storm",
        truth: &[
            ("service-errors", "shop/checkout"),
            ("errors-since-rollout", "shop/checkout"),
            ("service-errors", "shop/storefront"),
        ],
        unmended: &[("service-errors", "platform/ingress")],
        fixes: &[fix(20, ("service-errors", "shop/checkout"))],
        stays: &[],
        quiet: 80,
        lasts: 150,
        is_drawn: false,
    },
    Story {
        scenario: "pdb-stuck",
        truth: &[("pdb-blocks", "shop/payments")],
        unmended: &[],
        fixes: &[Fix { at: 20, of: ("pdb-blocks", "shop/payments"), with: With::Uncordon }],
        stays: &[("pdb-blocks", "shop/payments")],
        quiet: 5,
        lasts: 60,
        is_drawn: false,
    },
    // its faults continue
    Story {
        scenario: "api-flaky",
        truth: &[("source", "")],
        unmended: &[],
        fixes: &[],
        stays: &[("source", "")],
        quiet: 0,
        lasts: 300,
        is_drawn: true,
    },
    Story {
        scenario: "calm",
        truth: &[],
        unmended: &[],
        fixes: &[],
        stays: &[],
        quiet: 0,
        lasts: 600,
        is_drawn: false,
    },
];

impl With {
    /// The action and its object.
    pub fn act(&self, cluster: &Cluster, cause: &Cause) -> (Act, Vec<ObjectRef>) {
        match self {
            Self::Offered => {
                let action = cause.action.as_ref().expect("the line offers what helps");
                let act = match &action.what {
                    Remediation::RollBack => Act::Rollback { to_revision: None },
                    Remediation::OutOfService { .. } => Act::OutOfService,
                    // the time that a user needs to type
                    Remediation::Bounds => Act::Bounds { min: None, max: Some(20) },
                    Remediation::OutOfRotation { service } => Act::OutOfRotation { service: service.clone() },
                    other => panic!("{other:?}"),
                };
                (act, vec![action.on.clone()])
            }
            Self::AllOff => (Act::OutOfService, cause.objects.clone()),
            Self::Uncordon => {
                let cordoned = cluster.derived.nodes.iter().filter(|row| row.node.cordoned);
                let one = |row: &Arc<NodeRow>| row.node.reference(cluster.id());
                (Act::Uncordon, cordoned.map(one).collect())
            }
        }
    }
}
