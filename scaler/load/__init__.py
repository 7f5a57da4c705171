"""`scaler load`: floods a broker, follows how executions drain it, and reports.

`plan`, `account` and `report` are pure; `flood` sends, follows and stops.
"""
