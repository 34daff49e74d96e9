# lines: 4
FROM debian:12
ENV A=1 \
    AWS_SECRET_ACCESS_KEY="wJalrXUtnFEMIabcdefghij" B=2
