//! Decodes the result of a query while it is read. An answer can have tens of thousands of series, so no general JSON
//! value is made of it.

use std::fmt;

use pilothouse_core::domain::text;
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// The labels of a series, cleaned for display.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Labels(pub Vec<(String, String)>);

/// A time in seconds, and the value if it is a finite number. "NaN" and "+Inf" cannot be shown as numbers.
#[derive(Debug, PartialEq)]
pub(super) struct Point(pub f64, pub Option<f64>);

/// One series. A native histogram has neither `value` nor `values`.
#[derive(Debug, Default, Deserialize, PartialEq)]
pub(super) struct Item {
    #[serde(default)]
    pub metric: Labels,
    #[serde(default)]
    pub value: Option<Point>,
    #[serde(default)]
    pub values: Vec<Point>,
}

/// The result of any type: a list of series, or the time and value of a scalar.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Items {
    pub series: Vec<Item>,
    pub scalar: Option<f64>,
}

/// An element of the list.
enum Element {
    Series(Item),
    Text(String),
    Other,
}

pub(super) fn number(text: &str) -> Option<f64> {
    text.parse::<f64>().ok().filter(|v| v.is_finite())
}

impl<'de> Deserialize<'de> for Labels {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Of;
        impl<'de> Visitor<'de> for Of {
            type Value = Labels;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("labels")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Labels, A::Error> {
                let mut labels = Vec::new();
                while let Some((key, value)) = map.next_entry::<String, String>()? {
                    let is_clean = matches!(text::clean(&value), std::borrow::Cow::Borrowed(_));
                    let value = if is_clean { value } else { text::clean(&value).into_owned() };
                    labels.push((key, value));
                }
                Ok(Labels(labels))
            }
        }
        from.deserialize_map(Of)
    }
}

impl<'de> Deserialize<'de> for Point {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let (at, value) = <(f64, Element)>::deserialize(from)?;
        Ok(Self(at, if let Element::Text(text) = value { number(&text) } else { None }))
    }
}

impl<'de> Deserialize<'de> for Element {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Of;
        impl<'de> Visitor<'de> for Of {
            type Value = Element;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a series or a value")
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Element, A::Error> {
                Item::deserialize(MapAccessDeserializer::new(map)).map(Element::Series)
            }
            fn visit_str<E>(self, text: &str) -> Result<Element, E> {
                Ok(Element::Text(text.to_owned()))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Element, A::Error> {
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Element::Other)
            }
            fn visit_f64<E>(self, _: f64) -> Result<Element, E> {
                Ok(Element::Other)
            }
            fn visit_u64<E>(self, _: u64) -> Result<Element, E> {
                Ok(Element::Other)
            }
            fn visit_i64<E>(self, _: i64) -> Result<Element, E> {
                Ok(Element::Other)
            }
            fn visit_bool<E>(self, _: bool) -> Result<Element, E> {
                Ok(Element::Other)
            }
            fn visit_unit<E>(self) -> Result<Element, E> {
                Ok(Element::Other)
            }
        }
        from.deserialize_any(Of)
    }
}

impl<'de> Deserialize<'de> for Items {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Of;
        impl<'de> Visitor<'de> for Of {
            type Value = Items;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of series")
            }
            fn visit_unit<E>(self) -> Result<Items, E> {
                Ok(Items::default())
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Items, A::Error> {
                let mut items = Items::default();
                while let Some(element) = seq.next_element()? {
                    match element {
                        Element::Series(series) => items.series.push(series),
                        Element::Text(text) => items.scalar = number(&text),
                        Element::Other => {}
                    }
                }
                Ok(items)
            }
        }
        from.deserialize_any(Of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_of_each_type() {
        let read = |text: &str| serde_json::from_str::<Items>(text).unwrap();
        let labels = |pairs: &[(&str, &str)]| {
            Labels(pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect())
        };
        let vector =
            read(r#"[{"metric":{"a":"x\u001b"},"value":[1.5,"2"]},{"metric":{},"value":[1,"NaN"]}]"#);
        let series: Vec<_> = vector.series.into_iter().map(|s| (s.metric, s.value)).collect();
        assert_eq!(series[0], (labels(&[("a", "x␛")]), Some(Point(1.5, Some(2.0)))));
        assert_eq!(series[1], (labels(&[]), Some(Point(1.0, None))));
        let matrix = read(r#"[{"metric":{"a":"x"},"values":[[1,"2"],[2,"+Inf"],[3,4]]}]"#);
        assert_eq!(matrix.series[0].values, [Point(1.0, Some(2.0)), Point(2.0, None), Point(3.0, None)]);
        assert_eq!(read(r#"[1795230720.5,"7"]"#).scalar, Some(7.0));
        let histogram =
            read(r#"[{"metric":{"a":"x"},"histogram":[1,{"count":"3","buckets":[[0,"1","2","3"]]}]}]"#);
        assert_eq!((histogram.series.len(), &histogram.series[0].value), (1, &None));
        assert_eq!((read("null"), read("[]")), (Items::default(), Items::default()));
        assert!(serde_json::from_str::<Items>(r#"[{"metric":{"a":1}}]"#).is_err());
        assert!(serde_json::from_str::<Items>("5").is_err());
    }
}
