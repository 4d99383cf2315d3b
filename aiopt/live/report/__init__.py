"""What one sees of a session: report, terminal view, metrics and log.

- `aiopt.live.report.record`: a session as its folder has it, at one commit
- `aiopt.live.report.curves`: its equity over time
- `aiopt.live.report.pictures`, `page`: its report
- `aiopt.live.report.frame`: its terminal view
- `aiopt.live.report.session_metrics`, `session_log`: what a running one writes beside its file

Reads; decides nothing and writes nothing that a session goes on from.
"""
