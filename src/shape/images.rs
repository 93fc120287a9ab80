//! Whether a stream gives the images that a pipeline's rules need.
//!
//! Pure. Called by the shard sync of a running pipeline, and by `weir check`.

use super::{Format, Shape};
use crate::stream::view::View;

/// What of the rules can't be done with the images that come, each with what is missing. Empty: all can.
pub fn lacking(shape: &Shape, view: View) -> Vec<String> {
    let mut lacks = Vec::new();
    if shape.format == Format::Diff && view != View::NewAndOldImages {
        lacks.push(format!(
            "`format: diff` needs both images, and the stream's view type is {view}: no event tells what changed"
        ));
    }
    let asks = |image| {
        let filter = shape.filter.as_ref();
        filter.is_some_and(|filter| filter.asks_for(&["dynamodb", image]))
    };
    for (image, comes) in [("NewImage", view.has_new()), ("OldImage", view.has_old())] {
        if !comes && asks(image) {
            lacks.push(format!(
                "`filter` asks for dynamodb.{image}, and the stream's view type is {view}: it never comes"
            ));
        }
    }
    lacks
}

/// How a table's stream gets the images: its view type can't be changed, so that it is enabled anew.
pub fn way_out(table: Option<&str>) -> String {
    let table = table.unwrap_or("TABLE");
    format!(
        "disable the table's stream and enable it anew, which Weir reads on from: aws dynamodb update-table --table-name \
         {table} --stream-specification StreamEnabled=false, then the same with \
         StreamEnabled=true,StreamViewType=NEW_AND_OLD_IMAGES"
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::filter::Filter;

    #[test]
    fn a_rule_lacks_the_images_that_never_come() {
        let diff = Shape {
            format: Format::Diff,
            ..Shape::default()
        };
        let filter = |pattern| Shape {
            filter: Some(Filter::parse(&[pattern]).unwrap()),
            ..Shape::default()
        };
        let new = filter(json!({ "dynamodb": { "NewImage": { "a": { "S": ["x"] } } } }));
        let old = filter(json!({ "$or": [
            { "eventName": ["REMOVE"] }, { "dynamodb": { "OldImage": { "a": { "S": ["x"] } } } }
        ]}));
        let keys = filter(json!({ "dynamodb": { "Keys": { "id": { "S": ["x"] } } } }));
        for (shape, view, lacks) in [
            (&diff, View::KeysOnly, 1),
            (&diff, View::NewImage, 1),
            (&diff, View::OldImage, 1),
            (&diff, View::NewAndOldImages, 0),
            (&new, View::KeysOnly, 1),
            (&new, View::OldImage, 1),
            (&new, View::NewImage, 0),
            (&old, View::NewImage, 1),
            (&old, View::OldImage, 0),
            (&keys, View::KeysOnly, 0),
            (&Shape::default(), View::KeysOnly, 0),
        ] {
            assert_eq!(lacking(shape, view).len(), lacks, "{shape:?} {view}");
        }
    }
}
