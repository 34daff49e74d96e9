# lines: 2
# pratique: ignore=df-sudo until=2099-01-01
FROM debian:12
