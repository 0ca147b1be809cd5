//! A drain against a scripted cluster.
