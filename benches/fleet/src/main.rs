//! Prints the tables of the guide to fleets.

use fleet_simulation::tables;

fn main() {
    println!("{}", tables::steady());
    println!("{}", tables::restarts());
    print!("{}", tables::remedies());
}
