# lines: 3
FROM debian:12
RUN export API_TOKEN=abcdef12 && make
