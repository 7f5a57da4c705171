"""`scaler soak`: mixed load with faults for minutes or hours, promises asked all along, and growth judged.

`plan`, `kinds`, `slopes`, `growth`, `account` and `report` are pure; `eyes`, `watch`, `follow` and `looks` look,
`hands` does, `finish` puts right, `run` holds them together.
"""
