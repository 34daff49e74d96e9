# lines: 4
# escape=`
FROM mcr.microsoft.com/windows/servercore:ltsc2022
RUN net user deploy S3cret! /add && net localgroup administrators deploy /add
