//! The rule by which plans grow, shown with a plan as one release has it and as the next one has it.

use crate::growing::{Growing, encode, growing};
use crate::plan::Propagation;
use crate::{FrameError, decode_plan};

growing! {
    /// A part as protocol 1 has it.
    #[derive(Debug, Clone, PartialEq)]
    pub(super) struct Old("volume") {
        1 target: u32;
        2 options: Vec<u32> = Vec::new();
    }

    /// The same part after a release that has given it two fields.
    #[derive(Debug, Clone, PartialEq)]
    pub(super) struct New("volume") {
        1 target: u32;
        2 options: Vec<u32> = Vec::new();
        3 quota: Option<u32> = None, since 2;
        4 propagation: Propagation = Propagation::Private, since 2;
    }

    /// A plan with such parts.
    #[derive(Debug, Clone, PartialEq)]
    pub(super) struct OldPlan("plan") {
        1 volumes: Vec<Old> = Vec::new();
        2 root: Option<Old> = None;
    }

    /// The same plan after that release.
    #[derive(Debug, Clone, PartialEq)]
    pub(super) struct NewPlan("plan") {
        1 volumes: Vec<New> = Vec::new();
        2 root: Option<New> = None;
        3 sealed: bool = false, since 2;
    }
}

fn old() -> OldPlan {
    let volume = |target, options: &[u32]| Old {
        target,
        options: options.to_vec(),
    };
    OldPlan {
        volumes: vec![volume(1, &[]), volume(2, &[7, 300])],
        root: Some(volume(0, &[])),
    }
}

/// What the plan of [`old`] means to the next release.
fn grown() -> NewPlan {
    let part = |part: Old| New {
        target: part.target,
        options: part.options,
        quota: None,
        propagation: Propagation::Private,
    };
    let OldPlan { volumes, root } = old();
    NewPlan {
        volumes: volumes.into_iter().map(part).collect(),
        root: root.map(part),
        sealed: false,
    }
}

#[test]
fn a_plan_without_newer_fields_is_the_same_to_both_releases() {
    let older = encode(1, &old()).unwrap();
    assert_eq!(encode(1, &grown()).unwrap(), older);
    assert_eq!(encode(2, &grown()).unwrap(), older);
    assert_eq!(decode_plan::<NewPlan>(&older).unwrap(), grown());
    assert_eq!(decode_plan::<OldPlan>(&older).unwrap(), old());
}

#[test]
fn a_newer_field_is_not_written_for_an_older_shim() {
    let mut plan = grown();
    plan.volumes[1].quota = Some(9);
    let error = encode(1, &plan).unwrap_err().to_string();
    let wanted = "quota of the volume needs protocol 2, and the other side speaks 1";
    assert_eq!(error, wanted);
    let newer = encode(2, &plan).unwrap();
    assert_eq!(decode_plan::<NewPlan>(&newer).unwrap(), plan);
}

/// A process that starts without a field that restricts it can do more than it should.
#[test]
fn an_older_shim_refuses_a_field_that_it_does_not_know() {
    let sealed = NewPlan {
        sealed: true,
        ..grown()
    };
    let mut deep = grown();
    deep.volumes[0].propagation = Propagation::Shared;
    for (plan, wanted) in [
        (sealed, "field 3 of the plan is not known to this release"),
        (deep, "field 4 of the volume is not known to this release"),
    ] {
        let error = decode_plan::<OldPlan>(&encode(2, &plan).unwrap()).unwrap_err();
        assert_eq!(error.to_string(), wanted);
    }
}

#[test]
fn a_missing_field_has_its_default_or_is_an_error() {
    let empty = NewPlan {
        volumes: Vec::new(),
        root: None,
        sealed: false,
    };
    assert_eq!(decode_plan::<NewPlan>(&[]).unwrap(), empty);
    assert_eq!(encode(2, &empty).unwrap(), []);
    let error = decode_plan::<Old>(&[]).unwrap_err().to_string();
    assert_eq!(error, "the volume has no target");
}

#[test]
fn torn_plans_are_refused() {
    let whole = encode(1, &old()).unwrap();
    let volumes = whole.len() - 11;
    for cut in 1..whole.len() {
        // The plan ends after its first field as well.
        let read = decode_plan::<OldPlan>(&whole[..cut]);
        assert_eq!(read.is_ok(), cut == volumes, "{cut}: {read:?}");
    }
    // A number that is not all of its value.
    let long = [1, 2, 0, 0, 0, 5, 0];
    let error = decode_plan::<Old>(&long).unwrap_err();
    assert!(matches!(error, FrameError::Trailing(1)), "{error:?}");
    let unknown = [1, 1, 0, 0, 0, 5, 4, 1, 0, 0, 0, 99];
    let error = decode_plan::<New>(&unknown).unwrap_err();
    assert!(matches!(error, FrameError::Encoding(_)), "{error:?}");
    assert_eq!(Old::NAME, "volume");
}
