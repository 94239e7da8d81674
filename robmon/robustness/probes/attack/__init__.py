"""Attacks: how few rows keep their class where the worst is looked for. A witness is no bound: at most so many do."""
