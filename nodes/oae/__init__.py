"""Open Atomic Ethernet as far as it is public: the bilateral link, and rounds of swaps built on links."""
