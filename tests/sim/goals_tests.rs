//! How fast a message is everywhere and what it costs, on a tenth of the messages of `./x bench sim`. So few that the slowest
//! twentieth of them is two messages: the goals for it are the bench's to show; here nine tenths must keep them.

use sim::{
    SECOND,
    figures::{Measured, Spread},
    gossip::Parameters,
};

fn spread(loss: f64) -> Measured {
    let spread = Spread {
        meshes: 3,
        first_seed: 1,
        nodes: 100,
        loss,
        messages: 16,
        gap: SECOND / 2,
        reconciliation: true,
    };
    spread.measure(Parameters::PRODUCT)
}

#[test]
fn a_message_is_at_all_of_a_hundred_nodes_in_a_quarter_of_a_second_for_few_copies() {
    let measured = spread(0.0);
    assert!(measured.part(0.9) <= 250.0, "{:?}", measured.everywhere);
    assert!(measured.copies <= 4.5, "{} copies", measured.copies);
}

#[test]
fn with_every_third_frame_lost_it_is_there_in_six_tenths() {
    let measured = spread(0.3);
    assert!(measured.part(0.9) <= 600.0, "{:?}", measured.everywhere);
    assert!(measured.asked_for > 0.0, "some had to be asked for");
}

#[test]
fn a_mesh_of_few_neighbours_would_be_too_slow() {
    let parameters = Parameters {
        mesh: 3,
        low: 3,
        high: 4,
        ..Parameters::PRODUCT
    };
    let spread = Spread {
        meshes: 1,
        first_seed: 1,
        nodes: 100,
        loss: 0.0,
        messages: 10,
        gap: SECOND / 2,
        reconciliation: false,
    };
    assert!(spread.measure(parameters).part(0.9) > 250.0);
}
