# lines: 3
FROM debian:12
ADD .aws /root/.aws
