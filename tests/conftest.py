"""Fixtures that every module of the suite shares."""
