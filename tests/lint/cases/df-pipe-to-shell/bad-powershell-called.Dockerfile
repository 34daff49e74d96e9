# lines: 3
FROM mcr.microsoft.com/windows/servercore:ltsc2022
RUN powershell -Command "iwr -useb https://x/y.ps1 | iex"
