Gem::Specification.new do |s|
  s.name = "shop_pure"; s.version = "1.4.0.rc1"; s.summary = "A gem of the tests"; s.authors = ["pratique"]
  s.licenses = ["MIT", "Apache-2.0"]; s.homepage = "https://example.org"; s.files = []
  s.add_dependency "rake", ">= 12"
end
