//! The readable parts of an image's reference.

/// The last part of the image's name, and its tag or the first 12 characters of its digest. An image without a tag or
/// digest has the tag `latest`, as for the kubelet.
pub fn split(image: &str) -> (&str, &str) {
    let last = image.rsplit('/').next().unwrap_or(image);
    if let Some((name, digest)) = last.split_once('@') {
        let name = name.split(':').next().unwrap_or(name);
        let digest = digest.strip_prefix("sha256:").unwrap_or(digest);
        return (name, digest.get(..12).unwrap_or(digest));
    }
    last.split_once(':').unwrap_or((last, "latest"))
}

/// The version of an image: its tag or its digest.
pub fn version(image: &str) -> &str {
    split(image).1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_has_a_name_and_a_version() {
        for (image, parts) in [
            ("r.io:5000/shop/app:1.0", ("app", "1.0")),
            ("r.io:5000/app@sha256:0123456789abcdef", ("app", "0123456789ab")),
            ("app:1.0@sha256:0123456789abcdef", ("app", "0123456789ab")),
            ("busybox", ("busybox", "latest")),
        ] {
            assert_eq!(split(image), parts, "{image}");
        }
    }
}
