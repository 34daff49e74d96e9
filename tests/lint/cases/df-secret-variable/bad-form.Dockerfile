# lines: 3
FROM debian:12
ENV X=ghp_abcdefghijklmnopqrstuvwxyz0123456789
