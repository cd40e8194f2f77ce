"""The parts of `benches/compare`. Standard library only; `fetch.py` alone needs asyncssh."""
