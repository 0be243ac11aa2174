//! What the end-to-end stories share with the program under test.
