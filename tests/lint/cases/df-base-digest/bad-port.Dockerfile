# lines: 2
FROM reg:5000/a:1
USER 10001
